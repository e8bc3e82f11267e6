"""Transforms for test-time augmentation: the symmetries of the square, so no pixel is interpolated or lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

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


Mode = Literal["whole", "sliding", "multiscale"]
SCALES = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
DEFAULT_WINDOW = 512  # where the training crop is not known, or for the parts of a large scaled image


@dataclass(frozen=True)
class PredictOptions:
    """How an image is predicted.

    Attributes:
        mode: ``whole`` (one pass over the image), ``sliding`` (overlapping windows) or ``multiscale``
            (passes at several scales, each whole or, where large, in windows).
        scales: of ``multiscale``, above 0.
        tta: names from :data:`utils.predict.options.TRANSFORMS` that are averaged; ``identity`` is not implied.
        window: (height, width) of a window in pixels of the scaled image; ``None`` is the crop that the model
            was trained on, see :meth:`with_window`.
        overlap: share of a window that its neighbour covers too, 0 to below 1.
        margin: pixels at the inner edges of a window that are thrown away.
        window_batch: windows per forward pass; halved when they do not fit in memory.
        max_whole_pixels: a scaled image of ``multiscale`` with more pixels is predicted in windows of about
            that many, with seams as wide as those of ``sliding``; no forward pass gets more pixels at once,
            unless one window has more.
    """

    mode: Mode = "whole"
    scales: tuple[float, ...] = SCALES
    tta: tuple[str, ...] = ("identity",)
    window: tuple[int, int] | None = None
    overlap: float = 1 / 3
    margin: int = 0
    window_batch: int = 4
    max_whole_pixels: int = 2**22

    def __post_init__(self) -> None:
        if self.mode not in ("whole", "sliding", "multiscale"):
            raise ValueError(f"mode: there is no '{self.mode}'; choose whole, sliding or multiscale")
        if not self.scales or min(self.scales) <= 0:
            raise ValueError("scales: one or more numbers above 0 are expected")
        unknown = [name for name in self.tta if name not in TRANSFORMS]
        if unknown or not self.tta:
            raise ValueError(f"tta: {unknown or 'nothing given'}; choose from: {', '.join(TRANSFORMS)}")
        if self.window is not None and min(self.window) < 8:
            raise ValueError(f"window: {self.window} is too small; at least 8 pixels a side")
        if self.max_whole_pixels < 1:
            raise ValueError("max_whole_pixels: at least 1 is expected")
        if not 0 <= self.overlap < 1 or self.window_batch < 1 or self.margin < 0:
            raise ValueError("overlap must be in 0..1 (not 1), window_batch at least 1, margin at least 0")

    def with_window(self, crop_size: int | Sequence[int] | None = None) -> PredictOptions:
        """Return the same options with a window: the one given, else the training crop, else 512x512.

        Args:
            crop_size: side, or (height, width), of the training crop; ``None`` where it is not known.
        """
        if self.window is not None:
            return self
        crop = DEFAULT_WINDOW if crop_size is None else crop_size
        window = (crop, crop) if isinstance(crop, int) else (int(crop[0]), int(crop[1]))
        return replace(self, window=window)
