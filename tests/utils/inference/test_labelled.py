"""Labelled pairs beside unlabelled images: which images are the same, and masks that do not fit."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np
import pytest
from PIL import Image

from utils.errors import DataError
from utils.inference.inputs import ImageFile
from utils.inference.labelled import LabelledPair, find_pairs, mask_table, read_label, without_labelled


def test_images_are_left_out_by_their_content_not_by_their_name(tmp_path):
    for name, content in {
        "a.png": b"one",
        "copy.png": b"one",
        "same_size.png": b"two",
        "b.png": b"other",
    }.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    images = [ImageFile(path, PurePath(path.name)) for path in sorted(tmp_path.iterdir())]
    pairs = [LabelledPair("a", tmp_path / "a.png", tmp_path / "m.png")]
    left = [image.path.name for image in without_labelled(images, pairs)]
    assert left == ["b.png", "same_size.png"]
    assert without_labelled(images, []) == images


def test_pairs_have_the_class_indices_of_their_masks(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (4, 3)).save(tmp_path / "images" / "car.png")
    raw = np.array([[0, 255, 7, 0]] * 3, np.uint8)
    Image.fromarray(raw).save(tmp_path / "masks" / "car_mask.png")
    (pair,) = find_pairs(str(tmp_path / "images"), str(tmp_path / "masks"), "_mask")
    label = read_label(pair, mask_table(2, [0, 255], [7]))  # 255 is a class here
    assert label.tolist() == [[0, 1, 255, 0]] * 3
    with pytest.raises(DataError, match="value"):
        read_label(pair, mask_table(2, [0, 255]))
    Image.fromarray(raw[:2]).save(tmp_path / "masks" / "car_mask.png")
    with pytest.raises(DataError, match="car.png is 4x3 pixels, its mask .*car_mask.png 4x2"):
        read_label(pair, mask_table(2, [0, 255], [7]))
