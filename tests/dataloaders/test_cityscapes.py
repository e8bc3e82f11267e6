"""Cityscapes against its official tables, and both kinds of labels."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from dataloaders.cityscapes import CityScapesDataSet
from tests.dataloaders.trees import cityscapes
from utils.errors import DataError


def test_cityscapes_maps_raw_ids_as_the_official_table(tmp_path):
    table = CityScapesDataSet(**cityscapes(tmp_path), split="train").table
    raw = np.arange(34, dtype=np.uint8).reshape(1, -1)
    lut = np.full(256, 255, np.uint8)
    lut[:34] = table.encode(raw, "all ids")
    digest = "09a1b559c699d17c4ae2ca8a88fc38ec93b0b2e49f1a626e47a9a82aefa16689"
    assert hashlib.sha256(lut.tobytes()).hexdigest() == digest


def test_cityscapes_can_be_mapped_back_for_submission(tmp_path):
    info = CityScapesDataSet(**cityscapes(tmp_path), split="train").info
    assert info.label_ids[:4] == (7, 8, 11, 12) and info.label_ids[18] == 33
    assert info.palette[0] == (128, 64, 128) and info.palette[18] == (119, 11, 32)


@pytest.mark.parametrize("mode", ["fine", "coarse"])
def test_cityscapes_finds_both_kinds_of_labels(tmp_path, mode):
    """D19: coarse labels are found, and a missing label never shifts the pairs."""
    args = cityscapes(tmp_path)
    dataset = CityScapesDataSet(**args, split="val", mode=mode)
    assert len(dataset) == 4 and all(mode.capitalize() in s.mask.name for s in dataset.files)
    assert all(s.image.name.split("_left")[0] == s.mask.name.split("_gt")[0] for s in dataset.files)
    dataset.files[0].mask.unlink()
    with pytest.raises(DataError, match="1 images have no mask.*aachen_000000"):
        CityScapesDataSet(**args, split="val", mode=mode)


def test_cityscapes_extra_images_have_coarse_labels_only(tmp_path):
    args = cityscapes(tmp_path)
    assert len(CityScapesDataSet(**args, split="train_extra", mode="coarse")) == 4
    with pytest.raises(ValueError, match="coarse"):
        CityScapesDataSet(**args, split="train_extra")


def test_a_split_without_labels_of_the_mode_is_found_before_anything_is_read():
    assert CityScapesDataSet.check_arguments({"split": "train_extra", "mode": "coarse"}, "x") == []
    assert CityScapesDataSet.check_arguments({"split": "train_extra"}, "x") == [
        "x.split: 'train_extra' has coarse labels only; set mode to 'coarse'"
    ]
