"""The sizes of the training crops, which may change over a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from utils.augment.transform import SampleTransform
from utils.augment.warp import Size


class CropsByEpoch:
    """A data set whose training crops have other sizes in some epochs.

    The size follows from the epoch of a key, so that it is the same in every worker.
    """

    transform: SampleTransform
    _crops: Mapping[int, SampleTransform] = {}

    def schedule_crops(self, sizes: Mapping[int, Size]) -> None:
        """Set the (height, width) of the crops of some epochs; the others keep that of the options."""
        self._crops = {epoch: replace(self.transform, crop_size=size) for epoch, size in sizes.items()}

    def transform_of(self, epoch: int) -> SampleTransform:
        """Return the transform of the samples of an epoch."""
        return self._crops.get(epoch, self.transform)
