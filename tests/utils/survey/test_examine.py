from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dataloaders.folder import FolderDataSet
from dataloaders.shapes import Shapes
from tests.dataloaders.trees import blocks, picture, save
from utils.errors import SegwrightError
from utils.survey.examine import examine
from utils.survey.sample_facts import examine_sample

COUNT = 14


def folder(root, start=0, color_masks=False, **options):
    """A data set of images that differ from those of another start."""
    for number in range(COUNT):
        save(root / "images" / f"{number:02d}.png", picture((32, 40), start + 3 * number))
        mask = blocks((32, 40), [0, 1], number)
        mask = np.stack([mask * 200] * 3, axis=2) if color_masks else mask
        save(root / "masks" / f"{number:02d}.png", mask)
    colours = {"colors": [[0, 0, 0], [200, 200, 200]], "color_masks": True} if color_masks else {}
    return FolderDataSet(str(root), ["sky", "tree"], val=True, **colours, **options)


def spoil(root):
    """Make one mistake of every kind that a sample can have."""
    images, masks = root / "images", root / "masks"
    changed = blocks((32, 40), [0, 1], 0)
    changed[3, 4] = 37
    save(masks / "00.png", changed)
    save(masks / "01.png", picture((32, 40), 0))
    Image.fromarray(changed).save(root / "x.jpg")
    (root / "x.jpg").rename(masks / "02.png")
    (masks / "03.png").write_bytes(b"")
    save(masks / "04.png", blocks((30, 40), [0, 1], 0))
    (images / "05.png").write_bytes(b"text")
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(picture((32, 40), 3)).save(images / "06.png", exif=exif)
    save(masks / "07.png", np.full((32, 40), 1, np.uint8))
    save(masks / "08.png", np.full((32, 40), 255, np.uint8))


KINDS = {
    "unknown_value": "00", "colour_mask": "01", "jpeg_mask": "02", "unreadable_mask": "03", "size_mismatch": "04",
    "unreadable_image": "05", "exif_rotation": "06", "one_class": "07", "void_mask": "08",
}  # fmt: skip


@pytest.mark.parametrize("reworded", [False, True])
def test_the_kinds_do_not_depend_on_the_words_of_any_message(tmp_path, monkeypatch, reworded):
    dataset = folder(tmp_path, void=[255])
    spoil(tmp_path)
    if reworded:
        monkeypatch.setattr(SegwrightError, "__str__", lambda error: "completely different words")
    problems = examine({"train": dataset}).problems()
    assert {problem.kind for problem in problems} == KINDS.keys()
    assert all(len(problem.files) == 1 for problem in problems)
    if not reworded:
        assert all(f"{KINDS[problem.kind]}.png" in problem.files[0] for problem in problems)


@pytest.mark.parametrize("reworded", [False, True])
def test_a_colour_outside_the_table_is_of_its_own_kind(tmp_path, monkeypatch, reworded):
    dataset = folder(tmp_path, color_masks=True)
    mask = np.zeros((32, 40, 3), np.uint8)
    mask[5, 6] = (1, 2, 3)
    save(tmp_path / "masks" / "00.png", mask)
    if reworded:
        monkeypatch.setattr(SegwrightError, "__str__", lambda error: "completely different words")
    (problem,) = examine({"train": dataset}).problems()
    assert (problem.kind, problem.level) == ("unknown_colour", "error")


def test_a_problem_is_an_error_only_where_training_would_fail(tmp_path):
    dataset = folder(tmp_path, void=[255])
    spoil(tmp_path)
    warnings = {
        problem.kind for problem in examine({"train": dataset}).problems() if problem.level == "warning"
    }
    assert warnings == {"exif_rotation", "one_class", "void_mask"}


def test_a_sample_is_measured_as_numpy_measures_it(tmp_path):
    facts = examine_sample(folder(tmp_path), 2)
    image = picture((32, 40), 6) / 255
    assert facts.size == (32, 40) and facts.name == "02" and facts.file.endswith("02.png")
    assert np.allclose(facts.sums, [image.sum((0, 1)), np.square(image).sum((0, 1))])
    assert np.array_equal(facts.histogram[:2], np.bincount(blocks((32, 40), [0, 1], 2).reshape(-1)))


def test_images_of_two_splits_are_compared(tmp_path):
    train, val = folder(tmp_path / "train"), folder(tmp_path / "val", start=100)
    save(tmp_path / "val" / "images" / "03.png", picture((32, 40), 6))  # 02 of train
    almost = picture((32, 40), 12).astype(int) + np.random.default_rng(0).integers(-2, 3, (32, 40, 3))
    save(tmp_path / "val" / "images" / "05.png", almost.clip(0, 255).astype(np.uint8))  # near 04 of train
    found = {problem.kind: problem.files for problem in examine({"train": train, "val": val}).between}
    (same,) = found["same_image"]
    assert "train/images/02.png = " in same and same.endswith("val/images/03.png")
    assert any("04.png ~ " in pair and pair.endswith("05.png") for pair in found["similar_image"])
    assert not any(pair.endswith("03.png") for pair in found["similar_image"])


@pytest.mark.parametrize("allowed", [False, True])
def test_a_file_of_training_in_another_part_is_an_error_unless_allowed(tmp_path, allowed):
    train, val = (
        folder(tmp_path, split=part, val_fraction=share) for part, share in (("train", 0.2), ("val", 0.5))
    )
    common = {sample.image for sample in train.files} & {sample.image for sample in val.files}
    report = examine({"train": train, "val": val}, allow_overlap=allowed)
    (problem,) = [problem for problem in report.between if problem.kind.startswith("same")]
    assert problem.kind == "same_file" and set(problem.files) == set(map(str, common)) and common
    assert problem.level == ("warning" if allowed else "error") and report.failed != allowed


def test_flat_images_are_never_similar(tmp_path):
    parts = {}
    for part, level in (("train", 100), ("val", 130)):
        parts[part] = folder(tmp_path / part)
        for number in range(COUNT):
            save(
                tmp_path / part / "images" / f"{number:02d}.png",
                np.full((32, 40, 3), level + number, np.uint8),
            )
    assert examine(parts).between == []


def test_a_class_that_training_lacks_is_named(tmp_path):
    train, val = folder(tmp_path / "train"), folder(tmp_path / "val", start=100)
    for number in range(COUNT):
        save(tmp_path / "train" / "masks" / f"{number:02d}.png", np.zeros((32, 40), np.uint8))
    report = examine({"train": train, "val": val})
    (problem,) = [problem for problem in report.between if problem.kind == "unseen_class"]
    assert problem.what == "val has classes that training never sees: tree"
    assert "absent_class" in {problem.kind for problem in report.splits[0].problems}
    assert report.weights == [1.0, 1.0]  # an absent class weighs 1, and sky has the median frequency


def test_drawn_samples_are_examined_without_files():
    loader = Shapes(split="train", num_images=4, image_size=32, batch_size=1)
    report = examine({"train": loader.dataset})
    assert report.splits[0].sizes == {"32x32": 4} and not report.failed and len(report.splits[0].mean) == 3
