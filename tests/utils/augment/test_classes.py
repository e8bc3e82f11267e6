from __future__ import annotations

import numpy as np

from utils.augment.classes import point_of_a_class, swapped_labels


def test_a_point_lies_on_the_class_that_is_wanted():
    label = np.zeros((6, 10), np.uint8)
    label[4, 7] = 3
    assert point_of_a_class(label, np.random.default_rng(0), 3) == (7.5 / 10, 4.5 / 6)
    assert point_of_a_class(label, np.random.default_rng(0), 2) is None
    assert point_of_a_class(np.full((2, 2), 255, np.uint8), np.random.default_rng(0)) is None


def test_a_mirror_image_swaps_labels():
    table = swapped_labels(("a", "left", "right"), (("left", "right"),))
    assert table[[0, 1, 2, 255]].tolist() == [0, 2, 1, 255]
