"""Samples made of parts of several: every pixel is taken from one of them, together with its own label.

All functions return new arrays, because a sample may be a view of a cached image. A pixel keeps its place in its
own sample; where samples differ in size, the parts that a smaller one lacks stay those of the first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from utils.augment.warp import Size

Pair = tuple[np.ndarray, np.ndarray]  # image (H, W, C) uint8, label (H, W) uint8


class Box(NamedTuple):
    """A rectangle of pixels; the ends are not part of it."""

    top: int
    bottom: int
    left: int
    right: int


def draw_box(size: Size, area: Sequence[float], rng: np.random.Generator) -> Box:
    """Draw the box of a cutmix: its share of the image and its centre, both uniform.

    Args:
        size: (height, width) of the image.
        area: lowest and highest share.
        rng: source of the draws.
    """
    share = float(rng.uniform(area[0], area[1]))
    return box_around((int(rng.integers(size[0])), int(rng.integers(size[1]))), share, size)


def box_around(centre: tuple[int, int], share: float, size: Size) -> Box:
    """Return the box of the image's shape that covers ``share`` of it, cut off at the border.

    Args:
        centre: (row, column) of its centre.
        share: 0..1 of the image's area.
        size: (height, width) of the image.
    """
    ends = []
    for middle, length in zip(centre, size, strict=True):
        side = int(length * math.sqrt(share))
        ends += [min(max(middle - side // 2, 0), length), min(max(middle - side // 2 + side, 0), length)]
    return Box(*ends)


def quadrants(size: Size, centre: tuple[int, int]) -> tuple[Box, Box, Box, Box]:
    """Return the four parts of an image of (height, width) around a point (row, column), row by row."""
    (height, width), (row, column) = size, centre
    top, bottom = (0, row), (row, height)
    left, right = (0, column), (column, width)
    return Box(*top, *left), Box(*top, *right), Box(*bottom, *left), Box(*bottom, *right)


def replace_boxes(first: Pair, parts: Sequence[tuple[Box, Pair]]) -> Pair:
    """Return the first sample with boxes of others in place of its own, void pixels included."""
    image, label = (array.copy() for array in first)
    for box, (other_image, other_label) in parts:
        bottom, right = (min(end, most) for end, most in zip(box[1::2], other_label.shape, strict=True))
        place = np.s_[box.top : bottom, box.left : right]
        image[place], label[place] = other_image[place], other_label[place]
    return image, label


def paste_class(first: Pair, second: Pair, index: int) -> Pair:
    """Return the first sample with the pixels of class ``index`` of the second in place of its own."""
    image, label = (array.copy() for array in first)
    height, width = (min(sides) for sides in zip(label.shape, second[1].shape, strict=True))
    pasted = second[1][:height, :width] == index
    np.copyto(image[:height, :width], second[0][:height, :width], where=pasted[..., None])
    label[:height, :width][pasted] = index
    return image, label
