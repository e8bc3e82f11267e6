"""Transforms for test-time augmentation: the symmetries of the square, so no pixel is interpolated or lost."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Transform(NamedTuple):
    """A symmetry of the square: rows and columns are exchanged (or not), then each axis is reversed (or not).

    Attributes:
        transpose: whether rows become columns.
        flip_rows: whether the transformed image is upside down.
        flip_columns: whether its left is right.
    """

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def apply(self, images: Tensor) -> Tensor:
        """Transform (N, C, H, W) images."""
        turned = images.transpose(2, 3) if self.transpose else images
        flipped = [axis for axis, flip in ((2, self.flip_rows), (3, self.flip_columns)) if flip]
        return turned.flip(flipped) if flipped else turned

    def invert(self, results: Tensor) -> Tensor:
        """Take (N, C, H, W) results of transformed images back to the image's own pixels."""
        flipped = [axis for axis, flip in ((2, self.flip_rows), (3, self.flip_columns)) if flip]
        turned = results.flip(flipped) if flipped else results
        return turned.transpose(2, 3) if self.transpose else turned


TRANSFORMS = {
    "identity": Transform(),
    "hflip": Transform(flip_columns=True),
    "vflip": Transform(flip_rows=True),
    "rot90": Transform(transpose=True, flip_rows=True),  # counter-clockwise, as torch.rot90
    "rot180": Transform(flip_rows=True, flip_columns=True),
    "rot270": Transform(transpose=True, flip_columns=True),
    "transpose": Transform(transpose=True),
}
