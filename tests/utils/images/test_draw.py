"""Figures: right colours at right places, inputs unchanged."""

from __future__ import annotations

import numpy as np
import pytest

from utils.dataset_info import DatasetInfo
from utils.images.draw import blend, colour_mask, overlay, prediction_grid

INFO = DatasetInfo(("sky", "a very long class name indeed"), ((10, 20, 30), (200, 0, 0)))


def test_colours_follow_the_palette():
    mask = np.array([[0, 1], [255, 1]], dtype=np.uint8)
    assert colour_mask(mask, INFO).tolist() == [[[10, 20, 30], [200, 0, 0]], [[224, 224, 192], [200, 0, 0]]]


def test_masks_that_would_wrap_are_refused():
    with pytest.raises(ValueError, match="int64"):
        colour_mask(np.array([[300]]), INFO)


def test_blend_mixes_and_leaves_void_clear():
    image = np.full((2, 2, 3), 100, np.uint8)
    mask = np.array([[1, 1], [255, 1]], dtype=np.uint8)
    mixed = blend(image, mask, INFO, 0.5)
    assert mixed[0, 0].tolist() == [150, 50, 50] and mixed[1, 0].tolist() == [100, 100, 100]
    assert (image == 100).all()


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (90, 120, 1), (300, 40, 4)])
def test_overlay_keeps_the_image_and_adds_a_legend(shape):
    image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    mask = (np.arange(shape[0] * shape[1]).reshape(shape[:2]) % 2).astype(np.uint8)
    figure = overlay(image, mask, INFO)
    assert np.array_equal(figure[: shape[0], : shape[1]], blend(image, mask, INFO))
    assert figure.shape[0] > shape[0]
    legend = figure[shape[0] :]
    assert (legend == (10, 20, 30)).all(axis=-1).any()
    assert figure.shape[1] >= shape[1]


def test_grid_has_a_row_per_image_and_hides_what_is_void():
    images = [np.zeros((20, 30, 3), np.uint8), np.zeros((600, 200, 3), np.uint8)]
    targets = [np.full((20, 30), 255, np.uint8), np.zeros((600, 200), np.uint8)]
    predictions = [np.ones((20, 30), np.uint8), np.ones((600, 200), np.int64)]
    grid = prediction_grid(images, targets, predictions, INFO)
    assert grid.dtype == np.uint8 and grid.shape[0] == 20 + 256
    assert grid.shape[1] == 3 * round(200 * 256 / 600)
    assert (grid[:20, 60:90] == (224, 224, 192)).all()  # a prediction that no metric counts
    assert (grid[20:, 2 * 85 + 2 : 3 * 85 - 2] == (200, 0, 0)).all()


def test_a_black_and_white_palette_leaves_the_background_clear_and_colours_the_rest():
    info = DatasetInfo(("background", "car"), ((0, 0, 0), (255, 255, 255)))
    image = np.full((30, 40, 3), 128, np.uint8)
    mask = np.zeros((30, 40), np.uint8)
    mask[:, 20:] = 1
    figure = overlay(image, mask, info)
    assert figure[5, 5].tolist() == [128, 128, 128]
    car = figure[5, 30].astype(int)
    assert car.max() - car.min() > 80  # the colour is seen
    assert (figure[30:] == (230, 25, 75)).all(axis=-1).any()  # in the legend too
    assert colour_mask(mask, info)[0, 30].tolist() == [255, 255, 255]
