"""ADE20K against its official tables."""

from __future__ import annotations

import numpy as np
import pytest

from dataloaders.ade20k import ADE20KDataSet
from tests.dataloaders.trees import ade20k
from utils.errors import LabelError


def test_ade20k_shifts_labels_and_colours_together(tmp_path):
    """D23, D24: 0 is void, never -1; wall is grey, not black."""
    dataset = ADE20KDataSet(**ade20k(tmp_path), split="train")
    assert len(dataset.classes) == 150 and dataset.classes[0] == "wall" and dataset.classes[149] == "flag"
    assert dataset.info.palette[0] == (120, 120, 120) and dataset.info.palette[2] == (6, 230, 230)
    raw = np.array([[0, 1, 2, 150]], np.uint8)
    assert dataset.table.encode(raw, "m").tolist() == [[255, 0, 1, 149]]
    with pytest.raises(LabelError, match="value 151"):
        dataset.table.encode(raw + 1, "m")
