"""Bilinear resampling, axis by axis: of coarse logits to the pixels of the result, and of images to a scale."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from utils.predict.windows import WindowSpan, neighbours, source_positions


class AxisMap(NamedTuple):
    """Positions of the pixels of the result on the grid of a window's logits, on one axis.

    Attributes:
        first: first pixel of the result that the logits contribute to.
        stop: the pixel after the last.
        lower: (stop - first,) index of the logits before each pixel.
        upper: (stop - first,) index of the logits after each pixel.
        fraction: (stop - first,) distance from ``lower`` to the pixel, in 0..1.
        weight: (stop - first,) float32, weight of the window at each pixel.
    """

    first: int
    stop: int
    lower: np.ndarray
    upper: np.ndarray
    fraction: np.ndarray
    weight: np.ndarray

    @classmethod
    def of_window(cls, span: WindowSpan, padded: int, length: int, reverse: bool) -> AxisMap:
        """Map the pixels of a window to the logits that cover it and its padding.

        Args:
            span: the window.
            padded: its size with the padding at its end that the network adds, in pixels of the input.
            length: number of logits on this axis.
            reverse: the network saw the window mirrored on this axis.
        """
        position = span.size - 1 - span.position if reverse else span.position
        on_grid = (position + 0.5) * (length / padded) - 0.5
        return cls(span.first, span.stop, *neighbours(np.clip(on_grid, 0, length - 1)), span.weight)

    def part(self, start: int, stop: int) -> AxisMap:
        """Return the map of the pixels ``start`` to ``stop`` of the result, which must lie inside this one."""
        inside = slice(start - self.first, stop - self.first)
        return AxisMap(
            start, stop, self.lower[inside], self.upper[inside], self.fraction[inside], self.weight[inside]
        )

    @property
    def grid(self) -> slice:
        """The logits that the pixels are interpolated from."""
        return slice(int(self.lower.min()), int(self.upper.max()) + 1)

    @property
    def is_identity(self) -> bool:
        """The pixels are those logits, one by one and in their order."""
        return not self.fraction.any() and bool((np.diff(self.lower) == 1).all())


class RowInterpolator(NamedTuple):
    """Interpolates rows of the result from rows of logits, by a matrix product.

    Attributes:
        grid: the rows of logits.
        matrix: (rows, rows of logits) float32; ``None`` where the rows are those of the logits.
        weight: (rows, 1) float32.
    """

    grid: slice
    matrix: Tensor | None
    weight: Tensor

    @classmethod
    def of(cls, rows: AxisMap, share: float, device: torch.device) -> RowInterpolator:
        """Make the interpolator of ``rows``, whose weights are multiplied by ``share``."""
        grid, matrix = rows.grid, None
        if not rows.is_identity:
            index = np.arange(len(rows.lower))
            mixing = np.zeros((len(index), grid.stop - grid.start), dtype=np.float32)
            mixing[index, rows.upper - grid.start] = rows.fraction
            mixing[index, rows.lower - grid.start] += (1 - rows.fraction).astype(np.float32)
            matrix = torch.from_numpy(mixing).to(device)
        weight = torch.from_numpy(rows.weight * np.float32(share)).to(device)
        return cls(grid, matrix, weight[:, None])

    def __call__(self, strip: Tensor) -> Tensor:
        """Interpolate (rows of logits, w, C) float32 to (rows, w, C)."""
        if self.matrix is None:
            return strip
        return torch.mm(self.matrix, strip.view(len(strip), -1)).view(-1, *strip.shape[1:])


class ColumnInterpolator(NamedTuple):
    """Interpolates columns of the result from columns of logits, each between two of them.

    Attributes:
        grid: the columns of logits.
        lower: (columns,) index of the one before each; ``None`` where the columns are those of the logits.
        upper: (columns,) index of the one after each.
        fraction: (columns, 1) float32, distance from ``lower`` in 0..1.
        weight: (columns,) float32.
    """

    grid: slice
    lower: Tensor | None
    upper: Tensor
    fraction: Tensor
    weight: Tensor

    @classmethod
    def of(cls, columns: AxisMap, device: torch.device) -> ColumnInterpolator:
        """Make the interpolator of ``columns``."""
        grid = columns.grid
        lower, upper = (
            torch.from_numpy(index - grid.start).to(device) for index in (columns.lower, columns.upper)
        )
        fraction = torch.from_numpy(columns.fraction.astype(np.float32)).to(device)
        weight = torch.from_numpy(columns.weight).to(device)
        return cls(grid, None if columns.is_identity else lower, upper, fraction[:, None], weight)

    def __call__(self, strip: Tensor) -> Tensor:
        """Interpolate (h, columns of logits, C) float32 to (h, columns, C)."""
        if self.lower is None:
            return strip
        return torch.lerp(strip.index_select(1, self.lower), strip.index_select(1, self.upper), self.fraction)


_CV2_CHANNELS = 4  # cv2 resizes up to 4 channels together, more of them one by one


def source_rows(rows: slice, length: int, source: int) -> slice:
    """Return the rows of an image that some rows of the scaled image are interpolated from.

    Args:
        rows: rows of the scaled image.
        length: height of the scaled image.
        source: height of the image.
    """
    lower, upper, _ = source_positions(length, source)
    return slice(int(lower[rows][0]), int(upper[rows][-1]) + 1)


def scaled_rows(pixels: Tensor, rows: slice, length: int, source: int, width: int) -> Tensor:
    """Interpolate some rows of a scaled image bilinearly (pixel centres, edges held).

    Args:
        pixels: (h, w, C) float32, the :func:`source_rows` of the image.
        rows: rows of the scaled image.
        length: height of the scaled image.
        source: height of the image.
        width: width of the scaled image.

    Returns:
        (rows, width, C) float32.
    """
    lower, upper, fraction = source_positions(length, source)
    first = int(lower[rows][0])
    low, high = (torch.from_numpy(index[rows] - first).to(pixels.device) for index in (lower, upper))
    between = torch.from_numpy(fraction[rows].astype(np.float32)).to(pixels.device)[:, None, None]
    narrower = width <= pixels.shape[1]  # first the axis that leaves less work for the other
    if narrower:
        pixels = _scaled_columns(pixels, width)
    strip = torch.lerp(pixels.index_select(0, low), pixels.index_select(0, high), between)
    return strip if narrower else _scaled_columns(strip, width)


def _scaled_columns(pixels: Tensor, width: int) -> Tensor:
    """Interpolate (h, w, C) to (h, width, C)."""
    height, _, channels = pixels.shape
    if pixels.device.type == "cpu" and channels <= _CV2_CHANNELS:  # several times faster than torch's
        resized = cv2.resize(pixels.contiguous().numpy(), (width, height), interpolation=cv2.INTER_LINEAR)
        return torch.from_numpy(resized).view(height, width, channels)
    images = pixels.permute(2, 0, 1)[None]
    scaled: Tensor = F.interpolate(images, size=(height, width), mode="bilinear", align_corners=False)
    return scaled[0].permute(1, 2, 0)
