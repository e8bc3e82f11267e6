"""TianChi: run-length codes."""

from __future__ import annotations

import numpy as np
import pytest

from base.base_dataset import SampleKey
from dataloaders.tianchi import TianChiDataSet
from tests.dataloaders.trees import blocks, tianchi
from utils.errors import DataError


def test_tianchi_runs_down_the_columns_and_empty_is_background(tmp_path):
    """D28, B8."""
    args = tianchi(tmp_path)
    both = TianChiDataSet(**args, split="trainval", val=True)
    for index in range(5):
        expected = blocks((32, 32), [0, 1], index) if index else np.zeros((32, 32))
        assert np.array_equal(both.load(SampleKey(0, index)).label, expected)
    train, val = (TianChiDataSet(**args, split=split) for split in ("train", "val"))
    assert len(val) == 1 and not {s.image_id for s in train.files} & {s.image_id for s in val.files}
    (tmp_path / "train_mask.csv").write_text("KWP8J3TRS1.jpg\t5 x\n")
    with pytest.raises(DataError, match="KWP8J3TRS1.jpg"):
        TianChiDataSet(**args, split="trainval", val=True).load(SampleKey(0, 0))
