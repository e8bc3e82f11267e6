"""Boxes by hand; every pixel of a mix comes from one of its sources, with its own label."""

from __future__ import annotations

import numpy as np
import pytest

from utils.augment.mix import Box, box_around, draw_box, paste_class, quadrants, replace_boxes


def sample(number, size=(6, 8), channels=3):
    """A sample whose pixels and labels say which sample they are of, and where they are."""
    height, width = size
    image = np.empty((height, width, channels), np.uint8)
    image[..., 0], image[..., 1:] = number, np.arange(height * width).reshape(height, width)[..., None] % 250
    label = np.full(size, number, np.uint8)
    label[0] = 255  # a row of void
    return image, label


@pytest.mark.parametrize(("centre", "share", "box"), [
    ((30, 50), 0.25, (15, 45, 25, 75)),  # sides 60 * 0.5 and 100 * 0.5
    ((0, 99), 0.25, (0, 15, 74, 100)),  # cut off at the border
    ((30, 50), 1.0, (0, 60, 0, 100)), ((30, 50), 0.0, (30, 30, 50, 50)),
    ((30, 50), 0.09, (21, 39, 35, 65)), ((50, 10), 0.25, (35, 60, 0, 35)),
])  # fmt: skip
def test_a_box_by_hand(centre, share, box):
    """Yun et al., 2019, equation 2: sides W * sqrt(1 - lambda) and H * sqrt(1 - lambda)."""
    assert box_around(centre, share, (60, 100)) == box


def test_boxes_cover_the_share_that_is_asked_for():
    rng = np.random.default_rng(0)
    boxes = [draw_box((400, 400), (0.04, 0.16), rng) for _ in range(300)]
    sides = [(b.bottom - b.top, b.right - b.left) for b in boxes]
    assert max(max(s) for s in sides) <= 160
    uncut = [h * w / 160000 for h, w in sides if h == w]
    assert 0.04 - 0.002 <= min(uncut) < 0.05 and 0.15 < max(uncut) <= 0.16


def test_quadrants_share_out_every_pixel_once():
    count = np.zeros((6, 8), int)
    for box in quadrants((6, 8), (2, 5)):
        count[box.top : box.bottom, box.left : box.right] += 1
    assert (count == 1).all()
    assert quadrants((6, 8), (2, 5))[1] == Box(0, 2, 5, 8)


@pytest.mark.parametrize("channels", [1, 3, 7])
def test_every_pixel_keeps_its_place_and_its_label(channels):
    first, second = sample(1, channels=channels), sample(2, channels=channels)
    kept = first[0].copy(), first[1].copy()
    image, label = replace_boxes(first, [(Box(0, 3, 2, 6), second)])
    inside = np.zeros((6, 8), bool)
    inside[0:3, 2:6] = True
    assert np.array_equal(image, np.where(inside[..., None], second[0], first[0]))
    assert np.array_equal(label, np.where(inside, second[1], first[1]))
    assert (label[0] == 255).all()  # void stays void, in the box and outside
    assert np.array_equal(first[0], kept[0]) and np.array_equal(first[1], kept[1])


def test_a_smaller_sample_covers_only_what_it_has():
    first, second = sample(1), sample(2, size=(4, 3))
    image, label = replace_boxes(first, [(Box(1, 6, 1, 8), second)])
    assert (label[1:4, 1:3] == 2).all() and (image[1:4, 1:3, 0] == 2).all()
    assert (label == 2).sum() == 6 == (image[..., 0] == 2).sum()
    assert (replace_boxes(first, [(Box(4, 6, 0, 8), second)])[1] == first[1]).all()


@pytest.mark.parametrize("size", [(6, 8), (4, 5), (9, 8)])
def test_a_pasted_class_brings_its_pixels_alone(size):
    first, (image, label) = sample(1), sample(2, size=size)
    label[2, 1:4] = 7
    mixed, target = paste_class(first, (image, label), 7)
    assert (target[2, 1:4] == 7).all() and (mixed[2, 1:4] == image[2, 1:4]).all()
    others = target != 7
    assert others.sum() == 6 * 8 - 3
    assert (target[others] == first[1][others]).all() and (mixed[others] == first[0][others]).all()
    assert (first[1] != 7).all()
    assert paste_class(first, (image, label), 9)[1].tolist() == first[1].tolist()
