"""Semantic Boundaries: structs of .mat files."""

from __future__ import annotations

import numpy as np

from base.base_dataset import SampleKey
from dataloaders.sbd import SBDDataSet
from tests.dataloaders.trees import sbd


def test_sbd_reads_the_struct_of_its_mat_files(tmp_path):
    item = SBDDataSet(**sbd(tmp_path), split="train", val=True).load(SampleKey(0, 0))
    assert set(np.unique(item.label)) == {0, 7, 20}
