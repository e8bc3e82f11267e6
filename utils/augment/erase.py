"""Random erasing: a rectangle of the sample painted with one colour."""

from __future__ import annotations

import math

import numpy as np

from utils.augment.mix import Box
from utils.augment.options import Erasing
from utils.augment.warp import Size
from utils.dataset_info import IGNORE_INDEX

_TRIES = 10  # draws of a rectangle before the sample stays as it is


def erase(
    image: np.ndarray, label: np.ndarray, options: Erasing, fill: tuple[int, ...], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Erase a rectangle with probability ``options.p`` (Zhong et al., "Random erasing data augmentation", 2020).

    Args:
        image: (H, W, C) uint8.
        label: (H, W) uint8.
        options: size, shape and target of the rectangle.
        fill: its colour, one value of 0..255 per channel.
        rng: source of the draws.

    Returns:
        Image and label: copies where a rectangle was erased.
    """
    size = (label.shape[0], label.shape[1])
    box = _draw_rectangle(size, options, rng) if rng.random() < options.p else None
    if box is None:
        return image, label
    place = np.s_[box.top : box.bottom, box.left : box.right]
    image = image.copy()
    image[place] = fill
    if options.target == "void":
        label = label.copy()
        label[place] = IGNORE_INDEX
    return image, label


def rectangle_sides(size: Size, share: float, aspect: float) -> Size:
    """Return (height, width) of a rectangle with this share of the area and this ratio of height to width."""
    area = share * size[0] * size[1]
    return round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))


def _draw_rectangle(size: Size, options: Erasing, rng: np.random.Generator) -> Box | None:
    for _ in range(_TRIES):
        share, aspect = rng.uniform(*options.area), rng.uniform(*options.aspect)
        height, width = rectangle_sides(size, share, aspect)
        if height <= size[0] and width <= size[1]:
            top, left = (int(rng.integers(most + 1)) for most in (size[0] - height, size[1] - width))
            return Box(top, top + height, left, left + width)
    return None
