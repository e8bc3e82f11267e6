"""Types of one sample and of one batch on their way from a data set to the device."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor


class LabelledImage(NamedTuple):
    """One sample as a data set delivers it, before it is collated.

    Attributes:
        image: (H, W, C) uint8 in the channel order of the data set (RGB).
        label: (H, W) uint8 class indices 0..C-1, 255 = void.
        image_id: name in reports and outputs, unique in the data set.
    """

    image: np.ndarray
    label: np.ndarray
    image_id: str


class Batch(NamedTuple):
    """One batch on the host; uint8 and channels last keep copies small.

    Attributes:
        images: (N, H, W, C) uint8.
        target: (N, H, W) uint8 class indices, 255 = void.
        image_ids: N names.
    """

    images: Tensor
    target: Tensor
    image_ids: tuple[str, ...]

    def pin_memory(self) -> Batch:
        """Return a copy in page-locked memory; torch's loader calls this by name."""
        return Batch(self.images.pin_memory(), self.target.pin_memory(), self.image_ids)


class DeviceBatch(NamedTuple):
    """One batch on the device, ready for the model.

    Attributes:
        images: (N, C, H, W) float32, normalised by the data set's mean and std, channels_last in memory.
        target: (N, H, W) int64 class indices, 255 = void.
        image_ids: N names.
    """

    images: Tensor
    target: Tensor
    image_ids: tuple[str, ...]
