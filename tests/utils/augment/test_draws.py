"""Random geometry and colour."""

from __future__ import annotations

import numpy as np
import pytest

from utils.augment import warp
from utils.augment.draws import (
    Ranges,
    blur_image,
    change_colour,
    change_tone,
    draw_geometry,
    jitter_colour,
    jitter_label,
    resized,
)
from utils.augment.warp import warp_label

FILL = (124, 116, 104)


def warp_image(image, geometry, fill, full_size=None):
    """Both steps of the image: the warp, then the colour outside."""
    full_size = full_size or image.shape[:2]
    return warp.fill_outside(warp.warp_image(image, geometry, full_size), geometry, full_size, fill)


def ramp(height: int, width: int) -> np.ndarray:
    """An image whose first two channels tell where each pixel came from, in quarters of a pixel."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 2, y * 2, np.full_like(x, 200)], axis=2).astype(np.uint8)


def test_nothing_drawn_is_the_image_itself():
    image = ramp(20, 30)
    label = np.arange(600, dtype=np.uint8).reshape(20, 30) % 200
    geometry = draw_geometry((20, 30), Ranges(), np.random.default_rng(0))
    assert np.array_equal(warp_image(image, geometry, FILL), image)
    assert np.array_equal(warp_label(label, geometry), label)


def test_two_mirrors_are_the_identity():
    image = ramp(21, 30)
    geometry = draw_geometry((21, 30), Ranges(flip=1.0), np.random.default_rng(0))
    once = warp_image(image, geometry, FILL)
    assert np.array_equal(once, image[:, ::-1])
    assert np.array_equal(warp_image(once, geometry, FILL), image)


@pytest.mark.parametrize(("angle", "turns"), [(180.0, 2), (90.0, 1)])
@pytest.mark.parametrize("side", [20, 21])
def test_quarter_turns_are_exact(angle, turns, side):
    """D03: the pivot is the centre of the image, not the corner of a pixel."""
    label = np.random.default_rng(0).integers(0, 200, (side, side)).astype(np.uint8)
    geometry = draw_geometry((side, side), Ranges(rotate=(angle, angle)), np.random.default_rng(0))
    assert np.array_equal(warp_label(label, geometry), np.rot90(label, turns))
    image = np.repeat(label[..., None], 3, axis=2)
    difference = warp_image(image, geometry, FILL).astype(int) - np.rot90(image, turns)
    assert np.abs(difference).max() <= 1


@pytest.mark.slow
def test_no_random_draw_ever_invents_a_class_or_shifts_the_mean():
    """R30, D01, D02: labels are a subset plus void; outside is void and exactly the mean colour."""
    ranges = Ranges(scale=(0.3, 2.2), rotate=(-45, 45), flip=0.5, vertical_flip=0.5)
    rng = np.random.default_rng(0)
    for number in range(500):
        size = tuple(rng.integers(1, 70, 2))
        label = rng.choice([3, 7, 9], size).astype(np.uint8)
        image = np.full((*size, 3), (10, 20, 30), np.uint8)
        crop = None if number % 5 == 0 else tuple(rng.integers(1, 64, 2))
        geometry = draw_geometry(size, ranges, rng, 40, crop)
        warped, target = warp_image(image, geometry, FILL), warp_label(label, geometry)
        assert warped.shape == (*target.shape, 3)
        assert set(np.unique(target)) <= {3, 7, 9, 255}
        inside = (warped == (10, 20, 30)).all(axis=2)
        assert (target[inside] != 255).all()  # what is all image is labelled
        outside = (warped == FILL).all(axis=2)
        assert (target[outside] == 255).all()  # what is all padding is void


def test_a_crop_larger_than_the_image_is_padded_with_void():
    label = np.ones((40, 50), np.uint8)
    for seed in range(20):
        geometry = draw_geometry((40, 50), Ranges(), np.random.default_rng(seed), crop_size=(64, 64))
        target = warp_label(label, geometry)
        assert (target == 1).sum() == 40 * 50 and (target == 255).sum() == 64 * 64 - 2000


def test_every_place_of_a_crop_is_drawn():
    corners = {
        tuple(draw_geometry((10, 12), Ranges(), np.random.default_rng(s), crop_size=(8, 8)).matrix[:, 2])
        for s in range(400)
    }
    assert corners == {(x, y) for x in range(5) for y in range(3)}


@pytest.mark.parametrize("size", [(1, 500), (500, 1), (1, 1), (2, 3)])
def test_extreme_shapes_never_vanish(size):
    """D10: a side of 0.04 pixels is one pixel."""
    geometry = draw_geometry(size, Ranges(scale=(0.5, 2)), np.random.default_rng(0), base_size=20)
    image = np.full((*size, 3), 9, np.uint8)
    assert min(geometry.size) >= 1
    assert (warp_image(image, geometry, FILL) == 9).all()


def test_scale_and_base_size_set_the_longer_side():
    """D07: base_size is the longer side; scale is a ratio to it."""
    sides = [
        max(draw_geometry((30, 60), Ranges(scale=(0.5, 2)), np.random.default_rng(s), base_size=100).size)
        for s in range(200)
    ]
    assert 50 <= min(sides) < 60 and 190 < max(sides) <= 200


def test_the_crop_holds_the_point_it_was_asked_for():
    label = np.zeros((200, 300), np.uint8)
    label[150, 40] = 5
    for seed in range(50):
        geometry = draw_geometry(
            (200, 300),
            Ranges(),
            np.random.default_rng(seed),
            crop_size=(32, 32),
            centre=(40.5 / 300, 150.5 / 200),
        )
        assert (warp_label(label, geometry) == 5).any()


def test_grey_levels_are_not_biased():
    """D05: rounding, not truncation."""
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    for result in (blur_image(image, 1.2), warp_image(image, resized((200, 200), 0.9), FILL)):
        assert abs(result.mean() - image.mean()) < 0.2


def test_blur_reaches_three_standard_deviations():
    """D06: the kernel is never so small that it does nothing."""
    image = np.zeros((31, 31, 1), np.uint8)
    image[15, 15] = 255
    assert (blur_image(image, 1.5) > 0).sum() > 9
    assert (blur_image(image, 0.0) == image).all()


def test_colour_keeps_grey_grey_and_turns_the_rest():
    grey = np.full((4, 4, 3), 120, np.uint8)
    only_hue = Ranges(hue=180.0, saturation=0.5)
    assert np.abs(jitter_colour(grey, only_hue, np.random.default_rng(3)).astype(int) - 120).max() <= 1
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 200
    turned = jitter_colour(red, Ranges(hue=90.0), np.random.default_rng(5))
    luma = turned[0, 0] @ [0.299, 0.587, 0.114]
    assert not np.array_equal(turned, red) and luma >= 0.299 * 200 - 1
    assert np.array_equal(jitter_colour(red, Ranges(), np.random.default_rng(0)), red)


def test_exposure_and_gamma_by_hand():
    """value -> 255 * (exposure * value / 255) ** gamma, clipped to 1."""
    for channels in (1, 3, 6):
        image = np.repeat(np.array([[[0], [51], [102], [255]]], np.uint8), channels, axis=2)
        dark = change_tone(image, Ranges(exposure=(0.5, 0.5)), np.random.default_rng(0))
        assert dark[0, :, -1].tolist() == [0, 26, 51, 128]
        toned = change_tone(image, Ranges(gamma=(2.0, 2.0)), np.random.default_rng(0))
        assert toned[0, :, 0].tolist() == [0, 10, 41, 255] and toned.shape == image.shape
        bright = change_tone(image, Ranges(exposure=(3.0, 3.0)), np.random.default_rng(0))
        assert bright[0, :, 0].tolist() == [0, 153, 255, 255]


def test_colours_change_with_a_probability():
    image = np.full((2, 2, 3), 100, np.uint8)
    ranges = Ranges(brightness=0.5, exposure=(0.4, 0.6))

    def changed(p):
        results = [change_colour(image, ranges, p, np.random.default_rng(s)) for s in range(300)]
        return np.mean([not np.array_equal(result, image) for result in results])

    assert changed(0.0) == 0.0 and changed(1.0) > 0.98 and 0.2 < changed(0.3) < 0.4
    rng = np.random.default_rng(0)
    assert change_colour(image, Ranges(), 0.5, rng) is image
    assert rng.random() == np.random.default_rng(0).random()  # nothing was drawn


def test_a_label_is_bent_by_a_few_pixels_and_stays_complete():
    label = np.zeros((96, 128), np.uint8)
    label[:, 64:] = 1
    bent = jitter_label(label, 3.0, np.random.default_rng(1))
    assert set(np.unique(bent)) == {0, 1}  # no void at the border
    moved = (bent == 1).sum(axis=1) - 64
    assert 1 <= np.abs(moved).max() <= 7 and len(set(moved.tolist())) > 2
    assert np.array_equal(label[:, 64:], np.ones((96, 64)))
