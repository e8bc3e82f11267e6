"""All pairs of a tree are found whatever its folders, or what is left out is named."""

from __future__ import annotations

import time

import numpy as np
import pytest
from PIL import Image

from tests.dataloaders.trees import blocks, picture, save
from tests.experiments import open_data
from utils.errors import DataError
from utils.survey.candidates import candidates
from utils.survey.pairs import find_pairs
from utils.survey.probe import probe
from utils.survey.propose import describe_proposal, make_config

SIZE = (32, 40)


def write(root, places, names="ab", image="{0}/img/{1}.png", mask="{0}/mask/{1}.png"):
    for number, place in enumerate(places):
        for index, name in enumerate(names):
            seed = 7 * number + index
            save(root / image.format(place, name), picture(SIZE, seed))
            save(root / mask.format(place, name), blocks(SIZE, [0, 1], seed))


LEAVES = [f"site {site}/day {day}" for site in "AB" for day in range(3)]
LAYOUTS = {
    "mirrored trees": ("photos/{0}/{1}.png", "My Labels/{0}/{1}.png", LEAVES),
    "cases": ("{0}/img/{1}.png", "{0}/mask/{1}.png", [f"patient{n:03d}" for n in range(20)]),
    "cases in a folder": ("x/{0}/a/img/{1}.png", "x/{0}/a/mask/{1}.png", [f"patient{n}" for n in range(9)]),
    "both in a leaf": ("{0}/{1}.jpg", "{0}/{1}_mask.png", LEAVES),
    "one place": ("i/{0}/{1}.png", "m/{0}/{1}.png", ["only"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_pair_of_a_tree_is_found_and_the_config_reads_it(tmp_path, layout):
    image, mask, places = LAYOUTS[layout]
    write(tmp_path, places, image=image, mask=mask)
    found = probe(tmp_path)
    assert len(found.pairs) == 2 * len(places) and not found.unpaired and not found.left_out
    for first, second in found.pairs:
        place = next(place for place in places if f"/{place}/" in str(first))
        assert str(second).endswith(mask.format(place, first.stem))
    config = make_config(found, tmp_path, "x")
    read = [open_data(config[part], part).dataset for part in ("train_loader", "val_loader")]
    assert {(s.image, s.mask) for data in read for s in data.files} == set(found.pairs)
    assert sum(map(len, read)) == len(found.pairs)
    assert {s.image_id for data in read for s in data.files} == set(found.names)


def test_the_images_of_a_case_stay_in_one_split(tmp_path):
    write(tmp_path, [f"patient{n}" for n in range(10)], names="abc")
    config = make_config(probe(tmp_path), tmp_path, "x")
    parts = [open_data(config[part], part).dataset for part in ("train_loader", "val_loader")]
    cases = [{sample.image_id.split("/")[0] for sample in data.files} for data in parts]
    assert cases[0] and cases[1] and not cases[0] & cases[1]


def test_masks_of_one_place_are_never_the_images_of_another(tmp_path):
    write(tmp_path, LEAVES, image="My Labels/{0}/{1}.png", mask="My Labels/{0}/{1}.png")
    with pytest.raises(DataError, match="both hold as few values as masks"):
        find_pairs(tmp_path)


def test_image_files_that_are_left_out_are_counted_and_named(tmp_path):
    write(tmp_path, ["p1", "p2", "p3"])
    for number in range(5):
        save(tmp_path / "extra" / f"{number}.png", picture((8, 8), number))
    found = probe(tmp_path)
    assert len(found.left_out) == 5
    text = describe_proposal(found, make_config(found, tmp_path, "x"))
    assert "5 other image files below the folder are not used" in text and "extra/0.png" in text


@pytest.mark.slow
@pytest.mark.parametrize("spoil", ["empty mask", "many values", "empty image", "another size", "colours"])
def test_one_odd_file_does_not_decide_and_is_named(tmp_path, spoil):
    write(tmp_path, ["only"], names=[f"{n:02d}" for n in range(40)], image="i/{1}.png", mask="m/{1}.png")
    for name in ("00", "05"):  # the first is tried
        mask, image = tmp_path / "m" / f"{name}.png", tmp_path / "i" / f"{name}.png"
        if spoil == "empty mask":
            mask.write_bytes(b"")
        elif spoil == "empty image":
            image.write_bytes(b"")
        elif spoil == "many values":
            save(mask, np.arange(32 * 40).reshape(SIZE).astype(np.uint8))
        elif spoil == "another size":
            save(mask, blocks((8, 8), [0, 1], 0))
        else:
            save(mask, np.zeros((*SIZE, 3), np.uint8))
    found = probe(tmp_path)
    assert len(found.pairs) == 40 and set(found.counts) == {0, 1}
    assert any("00.png" in problem for problem in found.unreadable)


@pytest.mark.parametrize(("kind", "words"), [
    ("jpeg", r"3 pairs of names match, images in i and masks in m, but .*JPEG mask"),
    ("size", r"but .*i/0.png is 40x32 pixels, .*m/0.png 16x16"),
    ("soft", r"but .*m/0.png holds \d+ values, more than the 64 of a mask"),
])  # fmt: skip
def test_a_refusal_names_the_pair_that_was_tried_and_the_reason(tmp_path, kind, words):
    for number in range(3):
        save(tmp_path / "i" / f"{number}.png", picture(SIZE, number))
        soft = np.arange(32 * 40).reshape(SIZE).astype(np.uint8)
        array = blocks((16, 16), [0, 1], 0) if kind == "size" else soft
        (tmp_path / "m").mkdir(exist_ok=True)
        Image.fromarray(array).save(tmp_path / "m" / f"{number}.{'jpg' if kind == 'jpeg' else 'png'}")
    with pytest.raises(DataError, match=words):
        find_pairs(tmp_path)


@pytest.mark.slow
def test_the_number_of_candidates_grows_with_the_folders_and_not_their_square(tmp_path):
    from pathlib import Path

    def seconds(count):
        folders = {
            Path(f"patient{n:04d}", kind): [Path(f"patient{n:04d}", kind, f"{i}.png") for i in range(4)]
            for n in range(count)
            for kind in ("img", "mask")
        }
        start = time.process_time()
        found = list(candidates(folders))
        assert max(len(candidate.pairs) for candidate in found) == 4 * count and len(found) < 20
        return time.process_time() - start

    assert seconds(1600) < 12 * seconds(400) + 0.2
