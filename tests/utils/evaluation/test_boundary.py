"""Boundary pixels by hand and against a distance transform."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_cdt

from utils.evaluation.boundary import boundary, boundary_width, count_boundary


def test_the_boundary_of_a_square():
    region = np.zeros((20, 20), bool)
    region[5:15, 5:15] = True
    found = boundary(region, 2)
    inner = np.zeros_like(region)
    inner[7:13, 7:13] = True
    assert np.array_equal(found, region & ~inner)
    assert boundary(np.ones((9, 9), bool), 1).sum() == 32  # beyond the border is outside


def test_boundary_iou_of_a_shifted_square_by_hand():
    target, prediction = np.zeros((40, 30), np.uint8), np.zeros((40, 30), np.uint8)
    target[10:30, 10:20] = 1
    prediction[11:31, 10:20] = 1
    assert boundary_width((40, 30)) == 1
    both, either = count_boundary(prediction, target, 2)[1]
    # each boundary has 2*20 + 2*8 pixels; they share two sides of 19 and, at the corners, nothing more
    assert both == 2 * 19 and either == 2 * 56 - 2 * 19
    assert count_boundary(target, target, 2)[1].tolist() == [56, 56]


def test_void_is_not_compared_along_boundaries():
    target, prediction = np.zeros((40, 30), np.uint8), np.ones((40, 30), np.uint8)
    target[:] = 255
    assert not count_boundary(prediction, target, 2).any()


@pytest.mark.parametrize("rim", [1, 2, 6])
@pytest.mark.parametrize("inside", ["object", "background", "noise"])
def test_a_prediction_right_at_every_labelled_pixel_scores_1_whatever_it_says_in_void(rim, inside):
    """N1."""
    rows, columns = np.mgrid[:120, :160]
    distance = np.hypot(rows - 60, columns - 80)
    target = (distance < 35).astype(np.uint8)
    target[abs(distance - 35) < rim] = 255
    prediction, void = target.copy(), target == 255
    noise = np.random.default_rng(0).integers(0, 3, int(void.sum()))
    prediction[void] = {"object": 1, "background": 0, "noise": noise}[inside]
    counts = count_boundary(prediction, target, 3)
    assert (counts[:2, 0] == counts[:2, 1]).all() and (counts[:2, 0] > 0).all() and not counts[2].any()


def test_without_void_the_rims_are_those_of_the_plain_definition():
    draw = np.random.default_rng(1)
    target, prediction = (
        draw.integers(0, 3, (6, 8)).repeat(9, 0).repeat(9, 1).astype(np.uint8) for _ in "ab"
    )
    width = boundary_width(target.shape)
    for index, (both, either) in enumerate(count_boundary(prediction, target, 3)):
        rims = boundary(target == index, width), boundary(prediction == index, width)
        assert (both, either) == ((rims[0] & rims[1]).sum(), (rims[0] | rims[1]).sum())


@pytest.mark.parametrize("width", [1, 2, 5])
def test_the_boundary_is_a_band_of_a_chessboard_distance(width):
    region = np.random.default_rng(0).random((40, 30)) < 0.97
    padded = np.pad(region, 1)  # beyond the image's border is outside
    distance = distance_transform_cdt(padded, metric="chessboard")[1:-1, 1:-1]
    assert np.array_equal(boundary(region, width), region & (distance <= width))


def test_the_width_is_a_share_of_the_diagonal_and_at_least_1():
    assert boundary_width((300, 400)) == 10 and boundary_width((300, 400), 0.1) == 50
    assert boundary_width((1, 1)) == 1
