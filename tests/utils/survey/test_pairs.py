from __future__ import annotations

import pytest

from tests.dataloaders.trees import blocks, picture, save
from utils.errors import DataError
from utils.survey.pairs import find_pairs


def write(root, images, masks, names="abcdef", image=".png", mask=".png", ending="", image_ending=""):
    for number, name in enumerate(names):
        save(root / images / f"{name}{image_ending}{image}", picture((32, 40), number))
        save(root / masks / f"{name}{ending}{mask}", blocks((32, 40), [0, 255], number))


def test_folders_are_paired_by_name(tmp_path):
    write(tmp_path, "deep/er/photos", "labels", ending="_mask")
    (tmp_path / "labels" / "c_mask.png").unlink()
    found = find_pairs(tmp_path)
    assert (found.images, found.masks, found.mask_suffix) == ("deep/er/photos", "labels", "_mask")
    assert found.names == ["a", "b", "d", "e", "f"] and [path.stem for path in found.unpaired] == ["c"]
    assert all(image.stem + "_mask" == mask.stem for image, mask in found.pairs)


def test_two_kinds_of_files_in_one_folder_are_separated(tmp_path):
    write(tmp_path, "all", "all", ending="_label", image=".jpg")
    found = find_pairs(tmp_path)
    assert (found.images, found.masks, found.mask_suffix) == ("all/*.jpg", "all", "_label")
    assert len(found.pairs) == 6 and not found.unpaired


def test_both_names_may_end_in_their_kind(tmp_path):
    write(tmp_path, "images", "1st_manual", ending="_manual1", image_ending="_training")
    found = find_pairs(tmp_path)
    assert (found.image_suffix, found.mask_suffix) == ("_training", "_manual1") and found.names == list(
        "abcdef"
    )


@pytest.mark.parametrize(("train", "val"), [("train", "val"), ("Training", "valid"), ("train", "test")])
def test_folders_of_splits_are_recognised(tmp_path, train, val):
    for split in (train, val):
        write(tmp_path, f"{split}/images", f"{split}/masks")
    found = find_pairs(tmp_path)
    assert (found.images, found.masks, found.splits) == ("{split}/images", "{split}/masks", (train, val))
    assert all(train in image.parts and train in mask.parts for image, mask in found.pairs)


def test_a_file_with_many_values_is_a_photo_and_not_a_mask(tmp_path):
    write(tmp_path, "images", "masks")
    for number, name in enumerate("abcdef"):  # the same names and sizes, but photos
        save(tmp_path / "previews" / f"{name}.png", picture((32, 40), number)[..., 0])
    assert find_pairs(tmp_path).masks == "masks"


def test_a_mask_of_another_size_does_not_belong_to_the_image(tmp_path):
    write(tmp_path, "images", "masks")
    for name in "abcdef":
        save(tmp_path / "small" / f"{name}.png", blocks((16, 20), [0, 255], 0))
    assert find_pairs(tmp_path).masks == "masks"


@pytest.mark.parametrize(("image", "kind", "words"), [
    (None, "missing", "no image files"), ("i/a.png", "unpaired", "7_mask.png"),
])  # fmt: skip
def test_a_folder_without_images_or_without_masks_is_an_error_with_its_kind(tmp_path, image, kind, words):
    if image:
        save(tmp_path / image, picture((32, 40), 0))
    with pytest.raises(DataError, match=words) as caught:
        find_pairs(tmp_path)
    assert caught.value.kind == kind and caught.value.paths == (tmp_path,)
    with pytest.raises(DataError, match="no such folder"):
        find_pairs(tmp_path / "none")


def test_a_folder_without_permission_is_named_as_such(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.data.pairing.os.access", lambda path, mode: False)
    with pytest.raises(DataError, match="no permission to read this folder"):
        find_pairs(tmp_path)


def test_links_are_followed_and_those_that_lead_nowhere_are_named(tmp_path, caplog):
    write(tmp_path / "store", "i", "m")
    for part, own in (("images", "i"), ("masks", "m")):
        (tmp_path / "top" / part).mkdir(parents=True)
        (tmp_path / "top" / part / "day 1").symlink_to(tmp_path / "store" / own)
        (tmp_path / "top" / part / "loop").symlink_to(tmp_path / "top")
    (tmp_path / "store" / "i" / "lost.png").symlink_to("nowhere")
    found = find_pairs(tmp_path / "top")
    assert len(found.pairs) == 6 and not found.left_out
    assert "1 links lead nowhere" in caplog.text and "lost.png" in caplog.text
