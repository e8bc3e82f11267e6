"""Shapes: drawn images."""

from __future__ import annotations

import numpy as np
import pytest

from dataloaders.shapes import ShapesDataSet


@pytest.mark.slow
def test_shapes_are_the_same_every_time_and_differ_between_splits():
    train, again, val = (ShapesDataSet(s, num_images=8) for s in ("train", "train", "val"))
    hashes = set()
    for index in range(8):
        image, label, _ = train._load_data(index)
        other = again._load_data(index)
        assert np.array_equal(image, other[0]) and np.array_equal(label, other[1])
        hashes |= {image.tobytes(), val._load_data(index)[0].tobytes()}
        assert (label == 255).any() and set(np.unique(label)) <= {*range(7), 255}
    assert len(hashes) == 16
    seen = {int(v) for i in range(40) for v in np.unique(ShapesDataSet("train")._load_data(i)[1])}
    assert seen == {*range(7), 255}
