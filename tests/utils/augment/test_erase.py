from __future__ import annotations

import numpy as np
import pytest

from utils.augment.erase import erase, rectangle_sides
from utils.augment.options import Erasing

FILL = (1, 2, 3)


def test_sides_by_hand():
    """Zhong et al., 2020, algorithm 1: H = sqrt(S r) and W = sqrt(S / r)."""
    assert rectangle_sides((50, 80), 0.1, 4.0) == (40, 10)
    assert rectangle_sides((50, 80), 0.1, 0.25) == (10, 40)


@pytest.mark.parametrize("target", ["keep", "void"])
def test_a_rectangle_is_painted_and_its_target_kept_or_voided(target):
    image, label = np.full((40, 50, 3), 200, np.uint8), np.full((40, 50), 4, np.uint8)
    image.flags.writeable = label.flags.writeable = False  # as a cached image may be
    for seed in range(20):
        options = Erasing(1.0, (0.1, 0.2), (0.5, 2.0), target)
        found, changed = erase(image, label, options, FILL, np.random.default_rng(seed))
        erased = (found == FILL).all(axis=2)
        assert 0.08 < erased.mean() < 0.22
        rows, columns = np.flatnonzero(erased.any(axis=1)), np.flatnonzero(erased.any(axis=0))
        assert erased[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()  # a rectangle
        assert 0.4 < len(rows) / len(columns) < 2.3
        assert (found[~erased] == 200).all()
        assert np.array_equal(changed, np.where(erased, 255, 4) if target == "void" else label)


def test_probability_and_a_rectangle_that_never_fits():
    image, label = np.zeros((8, 8, 1), np.uint8), np.zeros((8, 8), np.uint8)
    hit = [
        (erase(image, label, Erasing(0.3), (9,), np.random.default_rng(s))[0] == 9).any() for s in range(400)
    ]
    assert 0.22 < np.mean(hit) < 0.38
    tall = Erasing(1.0, (0.4, 0.4), (100.0, 100.0))
    assert erase(image, label, tall, (9,), np.random.default_rng(0))[0] is image
