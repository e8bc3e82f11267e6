"""Clothing Co-Parsing: images without labels, damaged files."""

from __future__ import annotations

import pytest

from base.base_dataset import SampleKey
from dataloaders.clothes import ClothesDataSet
from tests.dataloaders.trees import clothes
from utils.errors import DataError


def test_clothes_leaves_out_photos_without_labels(tmp_path):
    """D35."""
    args = clothes(tmp_path)
    both = ClothesDataSet(**args, split="trainval")
    assert len(both) == 6 and len(both.classes) == 59 and both.classes[41] == "skin"
    both.files[0].mask.write_bytes(b"not a mat file")
    with pytest.raises(DataError, match="0000.mat"):
        both.load(SampleKey(0, 0))
