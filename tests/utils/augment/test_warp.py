"""Pixels of a warp, against cv2's own resampling and against coordinates worked out by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.utils.augment.test_draws import FILL, ramp, warp_image
from utils.augment import warp
from utils.augment.draws import Ranges, blur_image, jitter_colour, resized, whole_image
from utils.augment.warp import Geometry, warp_label


@pytest.mark.parametrize("ratio", [0.25, 0.3, 0.5, 0.51, 0.77, 1.0, 1.5, 2.0, 3.3])
def test_image_and_label_stay_together(ratio):
    """D04: at every scale a vertical edge is at the same place in both to within half a pixel."""
    for edge in (80, 81, 103):
        image = np.zeros((60, 200, 3), np.uint8)
        image[:, edge:] = 255
        label = (image[..., 0] > 0).astype(np.uint8)
        geometry = resized((60, 200), ratio)
        found = (warp_image(image, geometry, FILL)[5, :, 0] / 255).sum()  # sub-pixel place of the edge
        sharp = warp_label(label, geometry)[5].sum()
        expected = (200 - edge) * geometry.size[1] / 200
        # between 1/2 and 1 nothing is averaged: the edge may sit anywhere in a source pixel
        assert abs(found - expected) <= (0.35 if 0.5 < ratio < 1 else 0.1)
        assert abs(sharp - expected) <= 0.51


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.8, 1.5, 2.0])
def test_resizing_agrees_with_half_pixel_centres(ratio):
    """Against cv2's own resize, which has the same convention."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    image = cv2.GaussianBlur(noise, (0, 0), 3)
    geometry = resized((64, 96), ratio)
    size = geometry.size[::-1]
    mode = cv2.INTER_AREA if ratio <= 0.5 else cv2.INTER_LINEAR
    ours, theirs = warp_image(image, geometry, FILL), cv2.resize(image, size, interpolation=mode)
    inner = (slice(2, -2), slice(2, -2))
    assert np.abs(ours[inner].astype(int) - theirs[inner]).max() <= 2


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.8, 1.5, 2.0])
def test_labels_take_the_nearest_pixel(ratio):
    """D29: no label is ever between two classes."""
    y, x = np.mgrid[:64, :96]
    for axis, place in ((0, y), (1, x)):
        geometry = resized((64, 96), ratio)
        picked = warp_label(place.astype(np.uint8), geometry)
        line = picked[:, 0] if axis == 0 else picked[0]
        wanted = (np.arange(len(line)) + 0.5) * (64, 96)[axis] / geometry.size[axis] - 0.5
        assert np.abs(line - wanted).max() <= 0.51


def test_strong_reduction_averages_instead_of_picking():
    checker = (np.indices((128, 128)).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = warp_image(np.repeat(checker[..., None], 3, 2), resized((128, 128), 0.25), FILL)
    assert np.abs(small[2:-2, 2:-2].astype(int) - 127).max() <= 1


def test_a_reduced_decode_lands_on_the_same_place():
    image = cv2.GaussianBlur(
        np.random.default_rng(1).integers(0, 256, (96, 130, 3)).astype(np.uint8), (0, 0), 5
    )
    geometry = resized((96, 130), 0.4)
    assert geometry.reduction == 2
    reduced = cv2.resize(image, (65, 48), interpolation=cv2.INTER_AREA)
    direct, from_reduced = warp_image(image, geometry, FILL), warp_image(reduced, geometry, FILL, (96, 130))
    assert np.abs(direct[1:-1, 1:-1].astype(int) - from_reduced[1:-1, 1:-1]).max() <= 2


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7])
def test_any_number_of_channels(channels):
    image = np.random.default_rng(0).integers(0, 256, (30, 40, channels)).astype(np.uint8)
    geometry = resized((30, 40), 0.7)
    whole = warp_image(image, geometry, (9,) * channels)
    for channel in range(channels):
        alone = warp_image(np.ascontiguousarray(image[..., channel : channel + 1]), geometry, (9,))
        assert np.abs(whole[..., channel].astype(int) - alone[..., 0]).max() <= 5  # cv2 rounds its weights
    assert blur_image(image, 1.0).shape == image.shape
    assert jitter_colour(image, Ranges(brightness=0.2, hue=5), np.random.default_rng(0)).shape == image.shape


def test_whole_image_is_no_copy_of_a_copy():
    image = ramp(8, 9)
    assert warp_image(image, whole_image((8, 9)), FILL) is image
    assert isinstance(whole_image((8, 9)), Geometry)


def shifted(size, x, y, scale=1.0):
    """Each pixel of the output comes from (x, y) further on in the source."""
    return Geometry(size, np.array([[scale, 0.0, x], [0.0, scale, y]]), 1 / scale)


def test_a_crop_without_resampling_is_a_view_of_the_source():
    image = ramp(20, 30)
    label = np.ascontiguousarray(image[..., 0])
    crop = shifted((8, 9), 4, 6)
    assert np.shares_memory(warp.warp_image(image, crop), image)
    assert np.array_equal(warp.warp_image(image, crop), image[6:14, 4:13])
    assert np.array_equal(warp_label(label, crop), label[6:14, 4:13])


def test_only_pixels_outside_the_source_are_painted():
    image = np.full((10, 10, 3), 50, np.uint8)
    inside, over = shifted((6, 6), 2, 2), shifted((6, 6), -2, 7)
    kept = warp.warp_image(image, inside)
    assert warp.fill_outside(kept, inside, (10, 10), FILL) is kept
    painted = warp.fill_outside(warp.warp_image(image, over), over, (10, 10), FILL)
    expected = np.full((6, 6, 3), FILL, np.uint8)
    expected[:3, 2:] = 50
    assert np.array_equal(painted, expected)
    label = warp_label(np.ones((10, 10), np.uint8), over)
    assert np.array_equal(label == 255, (expected == FILL).all(axis=2))


@pytest.mark.parametrize(
    ("scale", "reduction"), [(1.0, 1), (1.9, 1), (2.0, 2), (5.0, 4), (8.0, 8), (20.0, 8)]
)
def test_a_decoder_may_shrink_by_no_more_than_the_warp_does(scale, reduction):
    assert shifted((4, 4), 0, 0, scale).reduction == reduction
