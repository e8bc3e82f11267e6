"""What a data set does with an image and its label: which part, at which scale, and how it is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from utils.augment.draws import (
    Ranges,
    blur_image,
    draw_geometry,
    jitter_colour,
    long_side_ratio,
    resized,
    whole_image,
)
from utils.augment.external import Albumentations
from utils.augment.warp import Geometry, Size, fill_outside, warp_image, warp_label
from utils.dataset_info import IGNORE_INDEX

_CROP_TRIES = 10  # draws of a crop before one with too little in it is taken all the same


@dataclass(frozen=True)
class Transform:
    """Training, still or validation, as :class:`~base.base_dataset.BaseDataSet` describes them.

    Attributes:
        ranges: what may be drawn.
        base_size: length of the longer side at scale 1.
        crop_size: (height, width) of the output.
        augment: draw at random.
        val: with ``crop_size`` scale the shorter side to it and cut out the centre.
        min_valid: share of labelled pixels that a crop should have.
        class_crop: probability that a crop is laid around a class.
        external: transforms of another library, after ours.
    """

    ranges: Ranges
    base_size: int | None = None
    crop_size: Size | None = None
    augment: bool = True
    val: bool = False
    min_valid: float = 0.0
    class_crop: float = 0.0
    external: Albumentations | None = None

    @property
    def keeps_whole(self) -> bool:
        """Whether images leave as they came."""
        return not self.augment and self.base_size is None and self.crop_size is None

    def for_validation(self) -> Transform:
        """Whole images, nothing random."""
        return replace(self, val=True, augment=False, base_size=None, crop_size=None)

    def plan(self, label: np.ndarray, rng: np.random.Generator) -> Geometry:
        """Decide which part of a sample is used, from its label (H, W) alone."""
        size = (label.shape[0], label.shape[1])
        if self.augment:
            return self._draw(label, size, rng)
        if self.val and self.crop_size:
            ratio = max(c / s for c, s in zip(self.crop_size, size, strict=True))
            return resized(size, ratio, self.crop_size)
        if self.keeps_whole:
            return whole_image(size)
        return resized(size, long_side_ratio(size, self.base_size), self.crop_size)

    def apply(
        self,
        image: np.ndarray,
        label: np.ndarray,
        geometry: Geometry,
        fill: tuple[int, ...],
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Carry out a plan.

        Args:
            image: (H, W, C) uint8, or a copy that was reduced when it was decoded.
            label: (H, W) uint8, in full size.
            geometry: the plan.
            fill: colour of what lies outside.
            rng: where the draws of colour and blur come from.
        """
        size = (label.shape[0], label.shape[1])
        image = warp_image(image, geometry, size)
        if self.augment and self.ranges.has_colour:
            image = jitter_colour(image, self.ranges, rng)
        if self.augment and self.ranges.blur[1] > 0:
            image = blur_image(image, rng.uniform(*self.ranges.blur))
        image = fill_outside(image, geometry, size, fill)
        label = warp_label(label, geometry)
        if self.augment and self.external is not None:
            return self.external(image, label, rng)
        return image, label

    def _draw(self, label: np.ndarray, size: Size, rng: np.random.Generator) -> Geometry:
        centre = None
        if self.class_crop and rng.random() < self.class_crop:
            centre = _point_of_a_class(label, rng)
        for _ in range(_CROP_TRIES):
            geometry = draw_geometry(size, self.ranges, rng, self.base_size, self.crop_size, centre)
            if not self.min_valid:
                break
            if (warp_label(label, geometry) != IGNORE_INDEX).mean() >= self.min_valid:
                break
        return geometry


def as_size(size: int | Sequence[int] | None) -> Size | None:
    """(height, width) from one side of a square or from a pair."""
    if size is None:
        return None
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def as_range(value: Any, default: tuple[float, float], off: tuple[float, float]) -> tuple[float, float]:
    """true is the default, false draws nothing, a number is +-number, a pair is itself."""
    if isinstance(value, bool):
        return default if value else off
    if isinstance(value, (int, float)):
        return -float(value), float(value)
    return float(value[0]), float(value[1])


def _point_of_a_class(label: np.ndarray, rng: np.random.Generator) -> tuple[float, float] | None:
    """(x, y) in 0..1 of a random pixel of a class drawn evenly from those in the image."""
    present = np.flatnonzero(np.bincount(label.reshape(-1), minlength=256)[:IGNORE_INDEX])
    if not len(present):
        return None
    places = np.flatnonzero(label.reshape(-1) == rng.choice(present))
    row, column = divmod(int(rng.choice(places)), label.shape[1])
    return (column + 0.5) / label.shape[1], (row + 0.5) / label.shape[0]
