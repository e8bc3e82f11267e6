"""Carvana: seeded splits by car."""

from __future__ import annotations

import numpy as np

from base.base_dataset import SampleKey
from dataloaders.carvana import CarvanaDataSet
from tests.dataloaders.trees import carvana


def test_carvana_never_divides_a_car(tmp_path):
    """D21."""
    args = carvana(tmp_path)
    train, val, both = (CarvanaDataSet(**args, split=s) for s in ("train", "val", "trainval"))
    assert len(both) == 6 and sorted(train.files + val.files) == both.files
    assert not set(train.groups()) & set(val.groups())
    assert (CarvanaDataSet(**args, split="test").load(SampleKey(0, 0)).label == 255).all()
    assert set(np.unique(both.load(SampleKey(0, 0)).label)) == {0, 1}
