"""Options of a prediction: mode, scales, windows, and the symmetries that test-time augmentation averages over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from torch import Tensor


class Symmetry(NamedTuple):
    """A symmetry of the square: rows and columns are exchanged or not, then each axis is reversed or not.

    No pixel is interpolated or lost, unlike with rotations by other angles.

    Attributes:
        transpose: rows become columns.
        flip_rows: the transformed image is upside down.
        flip_columns: the transformed image is mirrored left to right.
    """

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    @property
    def mirrors(self) -> bool:
        """True for mirror images, false for rotations."""
        return self.transpose ^ self.flip_rows ^ self.flip_columns

    def apply(self, images: Tensor) -> Tensor:
        """Transform (N, C, H, W) images to (N, C, H, W) or, transposed, (N, C, W, H)."""
        turned = images.transpose(2, 3) if self.transpose else images
        flipped = [axis for axis, flip in ((2, self.flip_rows), (3, self.flip_columns)) if flip]
        return turned.flip(flipped) if flipped else turned


SYMMETRIES = {
    "identity": Symmetry(),
    "hflip": Symmetry(flip_columns=True),
    "vflip": Symmetry(flip_rows=True),
    "rot90": Symmetry(transpose=True, flip_rows=True),  # counter-clockwise, as torch.rot90
    "rot180": Symmetry(flip_rows=True, flip_columns=True),
    "rot270": Symmetry(transpose=True, flip_columns=True),
    "transpose": Symmetry(transpose=True),
}


Mode = Literal["whole", "sliding", "multiscale"]
SCALES = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
SCALE_RANGE = (0.01, 16.0)  # outside, an image vanishes or its prediction takes days
DEFAULT_WINDOW = 512  # pixels a side where the training crop is not known


@dataclass(frozen=True)
class PredictOptions:
    """Options of how an image is predicted.

    Attributes:
        mode: ``whole`` (one pass over the image), ``sliding`` (overlapping windows) or ``multiscale``
            (passes at several scales, large scaled images in windows).
        scales: of ``multiscale``, in :data:`SCALE_RANGE`.
        tta: keys of :data:`SYMMETRIES` to average over; ``identity`` is not implied. ``None`` is ``identity``,
            in the mode ``multiscale`` with ``hflip`` unless the model was trained without mirror images, see
            :meth:`for_model`.
        window: (height, width) of a window in pixels of the scaled image, at least 8; ``None`` is the crop
            that the model was trained on, see :meth:`for_model`.
        overlap: share of a window that its neighbour also covers, from 0 to below 1.
        margin: pixels at the inner edges of a window that are discarded.
        window_batch: windows per forward pass; halved when they do not fit in memory.
        max_whole_pixels: a scaled image of ``multiscale`` with more pixels is predicted in windows of about
            this area, with seams as wide as those of ``sliding``; no forward pass gets more pixels at once,
            unless a single window has more.

    Raises:
        ValueError: an option is out of range; the message begins with its name.
    """

    mode: Mode = "whole"
    scales: tuple[float, ...] = SCALES
    tta: tuple[str, ...] | None = ("identity",)
    window: tuple[int, int] | None = None
    overlap: float = 1 / 3
    margin: int = 0
    window_batch: int = 4
    max_whole_pixels: int = 2**22

    def __post_init__(self) -> None:
        if self.mode not in ("whole", "sliding", "multiscale"):
            raise ValueError(f"mode: there is no '{self.mode}'; choose whole, sliding or multiscale")
        low, high = SCALE_RANGE
        if not self.scales or not all(low <= scale <= high for scale in self.scales):
            raise ValueError(
                f"scales: one or more numbers above 0 are expected, between {low:g} and {high:g}"
            )
        unknown = [name for name in self.tta or () if name not in SYMMETRIES]
        if unknown or self.tta == ():
            raise ValueError(f"tta: {unknown or 'nothing given'}; choose from: {', '.join(SYMMETRIES)}")
        self._check_windows()

    def _check_windows(self) -> None:
        if self.window is not None and min(self.window) < 8:
            raise ValueError(f"window: {self.window} is too small; at least 8 pixels a side")
        if self.max_whole_pixels < 1:
            raise ValueError("max_whole_pixels: at least 1 is expected")
        if not 0 <= self.overlap < 1 or self.window_batch < 1 or self.margin < 0:
            raise ValueError("overlap must be in 0..1 (not 1), window_batch at least 1, margin at least 0")

    def for_model(
        self, crop_size: int | Sequence[int] | None = None, flip: bool | None = None
    ) -> PredictOptions:
        """Return the same options with a window and symmetries: those given, else those of the training.

        Args:
            crop_size: side, or (height, width), of the training crop; ``None``, where it is not known, is 512.
            flip: whether training mirrored images; ``None``, where it is not known, is true.
        """
        window, tta = self.window, self.tta
        if window is None:
            crop = DEFAULT_WINDOW if crop_size is None else crop_size
            window = (crop, crop) if isinstance(crop, int) else (int(crop[0]), int(crop[1]))
        if tta is None:
            mirrors = self.mode == "multiscale" and flip is not False
            tta = ("identity", "hflip") if mirrors else ("identity",)
        return replace(self, window=window, tta=tta)
