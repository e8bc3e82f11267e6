"""Layouts that no pattern names get a list beside the config, and the config reads exactly its pairs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import check_data
import init_config
from tests.dataloaders.trees import blocks, picture, save
from tests.experiments import open_data
from utils.errors import DataError
from utils.survey.candidates import FolderPairs
from utils.survey.lists import pair_lists
from utils.survey.pairs import find_pairs

SIZE = (32, 40)


def write(root, image, mask, numbers=range(1, 7), masks=None):
    for number in numbers:
        save(root / image.format(number), picture(SIZE, 5 * number))
    for number in numbers if masks is None else masks:
        save(root / mask.format(number), blocks(SIZE, [0, 1], number))


def samples(config):
    return {
        part: {(s.image, s.mask) for s in open_data(config[f"{part}_loader"], part).dataset.files}
        for part in ("train", "val")
    }


@pytest.mark.parametrize(("image", "mask"), [
    ("images/img_{0:03d}.jpg", "masks/mask_{0:03d}.png"), ("case_{0}/image.png", "case_{0}/mask.png"),
    ("images/{0}.jpg", "masks/{0:03d}.png"), ("images/{0} b.jpg", "masks/0{0} b.png"),
])  # fmt: skip
def test_pairs_that_no_pattern_names_are_listed_and_read(tmp_path, capsys, monkeypatch, image, mask):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data", image, mask)
    assert init_config.main(["data"]) == 0
    assert "6 pairs are listed in data_pairs.txt" in capsys.readouterr().out
    config = json.loads(Path("data.json").read_text())
    found = samples(config)
    expected = {(Path("data", image.format(n)), Path("data", mask.format(n))) for n in range(1, 7)}
    assert found["train"] | found["val"] == expected and not found["train"] & found["val"] and found["val"]
    assert check_data.main(["-c", "data.json"]) == 0
    assert init_config.main(["data"]) == 2 and "--force" in capsys.readouterr().err
    Path("data.json").unlink()
    assert init_config.main(["data"]) == 2 and "data_pairs.txt: exists" in capsys.readouterr().err
    assert init_config.main(["data", "--force"]) == 0


def test_folders_of_splits_get_a_list_each(tmp_path, capsys):
    for split, numbers in (("train", range(1, 7)), ("val", range(7, 10))):
        write(tmp_path / "data" / split, "images/img_{0}.jpg", "masks/mask_{0}.png", numbers)
    output = tmp_path / "c.json"
    assert init_config.main([str(tmp_path / "data"), "-o", str(output)]) == 0
    assert "6 pairs and 3 for validation" in capsys.readouterr().out
    found = samples(json.loads(output.read_text()))
    assert len(found["train"]) == 6 and len(found["val"]) == 3
    assert all("train" in image.parts and "train" in mask.parts for image, mask in found["train"])
    assert all("val" in image.parts and "val" in mask.parts for image, mask in found["val"])


def test_images_without_a_mask_are_not_listed_and_the_config_is_ready(tmp_path, capsys):
    """Rank 14: a warning first and a refusal by the next command contradict each other."""
    write(tmp_path / "data", "images/{0}.jpg", "masks/{0}.png", masks=[1, 2, 3, 4, 6])
    output = tmp_path / "c.json"
    assert init_config.main([str(tmp_path / "data"), "-o", str(output)]) == 0
    text = capsys.readouterr().out
    assert "1 images have no mask, such as" in text and "5.jpg; they are not listed and not used" in text
    assert check_data.main(["-c", str(output)]) == 0
    found = samples(json.loads(output.read_text()))
    assert sorted(i.stem for part in found.values() for i, _ in part) == ["1", "2", "3", "4", "6"]


def test_views_of_one_object_stay_together_when_listed(tmp_path):
    for car in range(8):
        write(tmp_path / "data", f"i/car{car}_{{0}}.jpg", f"m/car{car}_{{0}}.png", range(3))
    save(tmp_path / "data" / "i" / "car9_0.jpg", picture(SIZE, 3))  # without a mask
    output = tmp_path / "c.json"
    assert init_config.main([str(tmp_path / "data"), "-o", str(output)]) == 0
    found = samples(json.loads(output.read_text()))
    cars = [{image.stem[:4] for image, _ in part} for part in found.values()]
    assert cars[0] and cars[1] and not cars[0] & cars[1]


def test_sizes_of_all_pairs_decide(tmp_path):
    write(tmp_path, "images/img_{0:02d}.jpg", "masks/mask_{0:02d}.png", range(20))
    save(tmp_path / "masks" / "mask_13.png", blocks((16, 16), [0, 1], 0))
    with pytest.raises(DataError, match=r"img_13\.jpg is 40x32 pixels, .*mask_13\.png 16x16; list the pairs"):
        find_pairs(tmp_path)


@pytest.mark.parametrize(("image", "mask"), [
    ("images/a_{0}.jpg", "masks/b_{0}.png"), ("x/{0}.jpg", "y/00{0}.png"),
])  # fmt: skip
def test_a_doubtful_pairing_names_the_list_as_the_way_out(tmp_path, image, mask):
    write(tmp_path, image, mask)
    words = r"list the pairs in a file, .*'images/7\.jpg masks/0007\.png', and name it in list_file"
    with pytest.raises(DataError, match=words):
        find_pairs(tmp_path)


def test_one_pair_of_equal_names_does_not_hide_those_of_other_names(tmp_path):
    write(tmp_path, "images/img_{0}.jpg", "masks/mask_{0}.png")
    write(tmp_path, "images/{0}.jpg", "masks/{0}.png", [70])
    assert len(find_pairs(tmp_path).pairs) == 7


@pytest.mark.parametrize("name", [" a.png", "a\tb.png", "a\nb.png"])
def test_a_name_that_a_list_cannot_hold_is_one_line(tmp_path, name):
    found = FolderPairs("i", "m", "", "", [(tmp_path / name, tmp_path / "m.png")], [], listed=True)
    with pytest.raises(DataError, match="a list cannot hold this name; rename the file"):
        pair_lists(found, tmp_path, tmp_path / "c.json")
