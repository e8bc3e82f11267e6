"""Freiburg Forest: colour masks."""

from __future__ import annotations

import numpy as np
import pytest

from base.base_dataset import SampleKey
from dataloaders.deepscene import DeepSceneDataSet
from tests.dataloaders.trees import deepscene, save
from utils.errors import LabelError


def test_deepscene_knows_void_and_refuses_unknown_colours(tmp_path):
    """D26."""
    dataset = DeepSceneDataSet(**deepscene(tmp_path), split="train", val=True)
    assert "void" not in [name.lower() for name in dataset.classes]
    assert (dataset.load(SampleKey(0, 0)).label == 255).any()
    mask = np.full((48, 64, 3), 7, np.uint8)
    save(dataset.files[0].mask, mask)
    with pytest.raises(LabelError, match="colour"):
        dataset.load(SampleKey(0, 0))
