"""The sizes of the training crops, which may change over a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from utils.augment.transform import SampleTransform
from utils.augment.warp import Size


class CropsByEpoch:
    """A data set whose training crops have other sizes in some epochs.

    The size follows from the epoch of a key, so that it is the same in every worker.
    """

    transform: SampleTransform
    _crops: Sequence[tuple[int, SampleTransform]] = ()

    def schedule_crops(self, steps: Sequence[tuple[int, Size]]) -> None:
        """Set the crops of the first epochs; later ones keep the size of the options.

        Args:
            steps: (last epoch, (height, width) of the crops), by rising epochs; epochs count from 1.
        """
        self._crops = [(last, replace(self.transform, crop_size=size)) for last, size in steps]

    def transform_of(self, epoch: int) -> SampleTransform:
        """Return the transform of the samples of an epoch; epoch 0, of a dry run, has the size of the options."""
        if epoch < 1:
            return self.transform
        return next((transform for last, transform in self._crops if epoch <= last), self.transform)
