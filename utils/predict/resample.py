"""Where the pixels of a result lie on a coarser grid of logits, axis by axis, and how they are read from it."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from utils.predict.windows import Span, neighbours, source_positions


class Placement(NamedTuple):
    """Where on the logits' grid the pixels of the result lie, on one axis.

    Attributes:
        first: first pixel of the result that the logits contribute to.
        stop: the pixel after the last.
        lower: (stop - first,) index of the logits before each pixel.
        upper: the same after it.
        fraction: (stop - first,) how far between the two it lies.
        weight: (stop - first,) float32.
    """

    first: int
    stop: int
    lower: np.ndarray
    upper: np.ndarray
    fraction: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, span: Span, padded: int, length: int, reverse: bool) -> Placement:
        """Place ``length`` logits that cover a window, padded at its end, that was perhaps reversed.

        Args:
            span: the window.
            padded: its size with the padding that the network adds, in pixels of its input.
            length: number of logits on this axis.
            reverse: whether the network saw the window mirrored on this axis.
        """
        position = span.size - 1 - span.position if reverse else span.position
        on_grid = (position + 0.5) * (length / padded) - 0.5
        return cls(span.first, span.stop, *neighbours(np.clip(on_grid, 0, length - 1)), span.weight)

    def part(self, start: int, stop: int) -> Placement:
        """The pixels ``start`` to ``stop`` of the result; both must be inside."""
        inside = slice(start - self.first, stop - self.first)
        return Placement(
            start, stop, self.lower[inside], self.upper[inside], self.fraction[inside], self.weight[inside]
        )

    @property
    def grid(self) -> slice:
        """The logits that the pixels are interpolated from."""
        return slice(int(self.lower.min()), int(self.upper.max()) + 1)

    @property
    def is_grid(self) -> bool:
        """Whether the pixels are those logits, one by one and in their order."""
        return not self.fraction.any() and bool((np.diff(self.lower) == 1).all())


class RowReader(NamedTuple):
    """Makes rows of the result from rows of logits, by multiplication with a matrix.

    Attributes:
        grid: the rows of logits.
        matrix: (rows, rows of logits) float32; None where nothing is to be done.
        weight: (rows, 1) float32.
    """

    grid: slice
    matrix: Tensor | None
    weight: Tensor

    @classmethod
    def of(cls, rows: Placement, share: float, device: torch.device) -> RowReader:
        """Read ``rows``, whose weights are multiplied by ``share``."""
        grid, matrix = rows.grid, None
        if not rows.is_grid:
            index = np.arange(len(rows.lower))
            mixing = np.zeros((len(index), grid.stop - grid.start), dtype=np.float32)
            mixing[index, rows.upper - grid.start] = rows.fraction
            mixing[index, rows.lower - grid.start] += (1 - rows.fraction).astype(np.float32)
            matrix = torch.from_numpy(mixing).to(device)
        weight = torch.from_numpy(rows.weight * np.float32(share)).to(device)
        return cls(grid, matrix, weight[:, None])

    def read(self, strip: Tensor) -> Tensor:
        """(rows of logits, w, C) float32 to (rows, w, C)."""
        if self.matrix is None:
            return strip
        return torch.mm(self.matrix, strip.view(len(strip), -1)).view(-1, *strip.shape[1:])


class ColumnReader(NamedTuple):
    """Makes columns of the result from columns of logits, by interpolation between two of them.

    Attributes:
        grid: the columns of logits.
        lower: (columns,) index of the one before each; None where nothing is to be done.
        upper: the same of the one after it.
        fraction: (columns, 1) float32, how far between the two.
        weight: (columns,) float32.
    """

    grid: slice
    lower: Tensor | None
    upper: Tensor
    fraction: Tensor
    weight: Tensor

    @classmethod
    def of(cls, columns: Placement, device: torch.device) -> ColumnReader:
        """Read ``columns``."""
        grid = columns.grid
        lower, upper = (
            torch.from_numpy(index - grid.start).to(device) for index in (columns.lower, columns.upper)
        )
        fraction = torch.from_numpy(columns.fraction.astype(np.float32)).to(device)
        weight = torch.from_numpy(columns.weight).to(device)
        return cls(grid, None if columns.is_grid else lower, upper, fraction[:, None], weight)

    def read(self, strip: Tensor) -> Tensor:
        """(h, columns of logits, C) float32 to (h, columns, C)."""
        if self.lower is None:
            return strip
        return torch.lerp(strip.index_select(1, self.lower), strip.index_select(1, self.upper), self.fraction)


_CV2_CHANNELS = 4  # more than these, cv2 does one by one


def source_rows(rows: slice, length: int, source: int) -> slice:
    """The rows of an image that some rows of it scaled are made from.

    Args:
        rows: of the scaled image.
        length: height of the scaled image.
        source: height of the image.
    """
    lower, upper, _ = source_positions(length, source)
    return slice(int(lower[rows][0]), int(upper[rows][-1]) + 1)


def scaled_rows(pixels: Tensor, rows: slice, length: int, source: int, width: int) -> Tensor:
    """Interpolate bilinearly (pixel centres, edges held).

    Args:
        pixels: (h, w, C) float32, the :func:`source_rows` of the image.
        rows: of the scaled image.
        length: height of the scaled image.
        source: height of the image.
        width: of the scaled image.

    Returns:
        (rows, width, C) float32.
    """
    lower, upper, fraction = source_positions(length, source)
    first = int(lower[rows][0])
    low, high = (torch.from_numpy(index[rows] - first).to(pixels.device) for index in (lower, upper))
    between = torch.from_numpy(fraction[rows].astype(np.float32)).to(pixels.device)[:, None, None]
    narrower = width <= pixels.shape[1]  # the axis that leaves less to do for the other comes first
    if narrower:
        pixels = _scaled_columns(pixels, width)
    strip = torch.lerp(pixels.index_select(0, low), pixels.index_select(0, high), between)
    return strip if narrower else _scaled_columns(strip, width)


def _scaled_columns(pixels: Tensor, width: int) -> Tensor:
    """(h, w, C) to (h, width, C)."""
    height, _, channels = pixels.shape
    if pixels.device.type == "cpu" and channels <= _CV2_CHANNELS:  # several times faster than torch's
        resized = cv2.resize(pixels.contiguous().numpy(), (width, height), interpolation=cv2.INTER_LINEAR)
        return torch.from_numpy(resized).view(height, width, channels)
    images = pixels.permute(2, 0, 1)[None]
    (scaled,) = F.interpolate(images, size=(height, width), mode="bilinear", align_corners=False)
    return scaled.permute(1, 2, 0)
