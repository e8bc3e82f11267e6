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


def test_num_shapes_limits_the_kinds_and_marks_the_fingerprint():
    two = ShapesDataSet("train", num_images=8, image_size=48, num_shapes=2)
    six = ShapesDataSet("train", num_images=8, image_size=48)
    assert two.classes == ("background", "circle", "square")
    assert {int(v) for i in range(8) for v in np.unique(two._load_data(i)[1])} == {0, 1, 2, 255}
    assert two.fingerprint() == six.fingerprint() + " 2"
    assert six.fingerprint() == f"shapes train 48 {list(range(8))}"  # caches of earlier versions
