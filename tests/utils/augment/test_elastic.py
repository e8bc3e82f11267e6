from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from utils.augment.draws import Ranges, draw_geometry, whole_image
from utils.augment.elastic import draw_field, smallest_step
from utils.augment.warp import fill_outside, warp_image, warp_label

BENT = Ranges(elastic=8, grid=0.3)
FILL = (124, 116, 104)


def rng(seed=0):
    return np.random.default_rng(seed)


def places(height, width):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 2, y * 2, np.full_like(x, 200)], axis=2).astype(np.uint8)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("ranges", [
    Ranges(elastic=8), Ranges(grid=0.4), BENT, replace(BENT, rotate=(-20, 20), flip=0.5, scale=(0.7, 1.6)),
])  # fmt: skip
def test_labels_move_with_images(ranges, seed):
    """Image and label both say where each pixel came from; they agree to half a pixel."""
    image = places(120, 127)
    geometry = draw_geometry((120, 127), ranges, rng(seed), crop_size=(96, 110))
    found = warp_image(image, geometry).astype(float) / 2
    inside = warp_label(np.ones((120, 127), np.uint8), geometry) == 1
    assert inside.mean() > 0.3
    for channel in (0, 1):
        nearest = warp_label(image[..., channel] // 2, geometry)
        difference = np.abs(found[..., channel] - nearest)[inside]
        assert difference.max() <= 0.5 + 0.3  # eight bits hold halves of a pixel
        assert abs((found[..., channel] - nearest)[inside].mean()) < 0.1


@pytest.mark.slow
def test_nothing_is_invented_and_outside_is_void():
    for number in range(150):
        size = tuple(rng(number).integers(1, 90, 2))
        label = rng(number).choice([3, 7, 9], size).astype(np.uint8)
        image = np.full((*size, 3), (10, 20, 30), np.uint8)
        crop = None if number % 5 == 0 else tuple(rng(number + 1).integers(1, 80, 2))
        ranges = replace(BENT, scale=(0.3, 2.2), rotate=(-45, 45), flip=0.5)
        geometry = draw_geometry(size, ranges, rng(number), 60, crop)
        pixels = fill_outside(warp_image(image, geometry), geometry, size, FILL)
        target = warp_label(label, geometry)
        assert set(np.unique(target)) <= {3, 7, 9, 255} and pixels.shape == (*target.shape, 3)
        assert np.array_equal(target == 255, (pixels == FILL).all(axis=2))


def test_without_displacements_the_warp_is_the_affine_one():
    image = rng().integers(0, 256, (70, 90, 3)).astype(np.uint8)
    straight = draw_geometry((70, 90), Ranges(scale=(0.8, 0.8), rotate=(7, 7)), rng())
    bent = replace(straight, field=draw_field(straight.size, 0, 0, rng()))
    assert np.abs(warp_image(image, straight).astype(int) - warp_image(image, bent)).max() <= 8
    assert (warp_label(image[..., 0], straight) == warp_label(image[..., 0], bent)).mean() > 0.99
    assert not replace(whole_image((4, 5)), field=draw_field((4, 5), 0, 0, rng())).is_identity


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (33, 57), (256, 320), (512, 512)])
def test_a_field_bends_but_does_not_fold(size):
    moved = 0.0
    for seed in range(10):
        field = draw_field(size, 8, 0.3, rng(seed))
        assert field.shape == (*size, 2) and field.dtype == np.float32
        straight = draw_field(size, 0, 0, rng())
        moved = max(moved, float(np.abs(field - straight).max()))
        for elastic, grid in ((8, 0), (0, 0.3)):
            alone = draw_field(size, elastic, grid, rng(seed))
            assert (np.diff(alone[..., 0], axis=1) > 0).all() and (np.diff(alone[..., 1], axis=0) > 0).all()
        assert 0.25 <= smallest_step(field) <= 1
    assert moved > (3 if min(size) > 200 else 0)


def test_the_cells_of_a_grid_keep_the_borders_where_they_are():
    field = draw_field((128, 192), 0, 0.5, rng())
    assert abs(field[0, 0, 0] - 0.5) < 0.5 and abs(field[0, -1, 0] - 191.5) < 0.5
    assert np.array_equal(field[0, :, 0], field[77, :, 0])  # columns stay straight


def test_detail_is_kept_where_a_picture_is_magnified():
    """A JPEG may be decoded at half its size only if no part of it is drawn larger than that."""
    for seed in range(20):
        straight = draw_geometry((400, 400), Ranges(scale=(0.4, 0.4)), rng(seed), crop_size=(100, 100))
        bent = draw_geometry((400, 400), replace(BENT, scale=(0.4, 0.4)), rng(seed), crop_size=(100, 100))
        assert np.array_equal(straight.matrix, bent.matrix) and bent.ratio > straight.ratio
        assert bent.reduction <= straight.reduction
