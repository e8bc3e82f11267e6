"""The logits of one forward pass at the network's own resolution, with their place in the result.

Networks decide on a grid that is 4 to 32 times coarser than the image. Keeping that grid and
interpolating only the rows at hand costs a fraction of the memory of logits at the image's size. The
softmax is taken at the pixels of the result, at the image's own resolution, whatever the scale or the
symmetry that the network saw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from utils.predict.options import Symmetry
from utils.predict.parallel import map_single_threaded
from utils.predict.resample import AxisMap, ColumnInterpolator, RowInterpolator
from utils.predict.scores import LOG2_E, add_softmax, add_softmax_base2, exp_is_safe
from utils.predict.windows import WindowSpan

# scores per tile and rows per tile; those of a CPU tile stay in the processor's cache
CPU_TILE, CPU_ROWS = 2**19, 32
# few rows: interpolating rows is a matrix product whose cost per score grows with the tile's height
GPU_TILE, GPU_ROWS = 2**26, 64


class WindowLogits:
    """The logits of one window under one symmetry, placed on the result.

    Args:
        logits: (C, h, w) as the network returned them for the transformed window, of any float type.
        row: the window's rows, in the image's own orientation.
        column: its columns.
        padded: (height, width) that the logits cover, in pixels of the network's input.
        symmetry: transform of the window that the network saw.
        share: factor of all weights.
    """

    def __init__(
        self,
        logits: Tensor,
        row: WindowSpan,
        column: WindowSpan,
        padded: tuple[int, int],
        symmetry: Symmetry,
        share: float,
    ) -> None:
        grid = logits.permute(1, 2, 0)
        flips = symmetry.flip_rows, symmetry.flip_columns
        if symmetry.transpose:
            grid, padded, flips = grid.transpose(0, 1), padded[::-1], flips[::-1]
        self.logits = grid.contiguous()  # (h, w, C), transposed back; flips are undone by the maps
        self.rows = AxisMap.of_window(row, padded[0], grid.shape[0], flips[0])
        self.columns = AxisMap.of_window(column, padded[1], grid.shape[1], flips[1])
        self.share = share
        self._exp_is_safe = exp_is_safe(self.logits)
        self._column_interpolators: dict[tuple[int, int], ColumnInterpolator] = {}

    @property
    def is_coarse(self) -> bool:
        """The logits take at most a quarter of the memory of their pixels' scores."""
        pixels = (self.rows.stop - self.rows.first) * (self.columns.stop - self.columns.first)
        return 4 * self.logits.shape[0] * self.logits.shape[1] <= pixels

    def row_interpolator(self, start: int, stop: int) -> RowInterpolator:
        """Make the interpolator of the rows ``start`` to ``stop`` of the result, inside the window."""
        return RowInterpolator.of(self.rows.part(start, stop), self.share, self.logits.device)

    def interpolate(self, rows: RowInterpolator, start: int, stop: int, factor: float = 1.0) -> Tensor:
        """Interpolate the logits of some rows and of the columns ``start`` to ``stop``, times a factor.

        Returns:
            (rows, columns, C) float32, contiguous, never a view of :attr:`logits`.
        """
        columns = self._column_interpolator(start, stop)
        strip = self.logits[rows.grid, columns.grid].float() * factor  # before there are more of them
        return rows(columns(strip))

    def add_to(self, target: Tensor, rows: RowInterpolator, start: int, stop: int) -> None:
        """Add the weighted probabilities of some rows and of the columns ``start`` to ``stop``.

        Args:
            target: (rows, columns, C) float32, added to in place.
            rows: as :meth:`row_interpolator` made it.
            start: first column of the result.
            stop: the column after the last.
        """
        weight = rows.weight * self._column_interpolator(start, stop).weight
        if self._exp_is_safe and self.logits.shape[-1] > 1:
            add_softmax_base2(target, self.interpolate(rows, start, stop, LOG2_E), weight)
        else:
            add_softmax(target, self.interpolate(rows, start, stop), weight)

    def _column_interpolator(self, start: int, stop: int) -> ColumnInterpolator:
        # kept, because every band asks for the same few ranges
        if (start, stop) not in self._column_interpolators:
            columns = ColumnInterpolator.of(self.columns.part(start, stop), self.logits.device)
            self._column_interpolators[start, stop] = columns
        return self._column_interpolators[start, stop]


def add_windows(target: Tensor, top: int, windows: Sequence[WindowLogits], *, clear: bool = False) -> None:
    """Add the weighted probabilities of windows to some rows of the result, tile by tile.

    Args:
        target: (rows, W, C) float32, added to in place.
        top: row of the result that is the first of ``target``.
        windows: those that do not touch the rows are skipped.
        clear: set ``target`` to 0 first.
    """
    height, width, _ = target.shape
    tall, wide = _tile_size(target)

    def fill(tile: tuple[list[_Overlap], int, int]) -> None:
        overlaps, y, x = tile
        if clear:
            target[y : y + tall, x : x + wide] = 0
        for window, first, rows in overlaps:
            start, stop = max(x, window.columns.first), min(x + wide, width, window.columns.stop)
            if start < stop:
                window.add_to(target[first - top :, start:stop][: len(rows.weight)], rows, start, stop)

    strips = [(_overlaps(windows, top + y, top + min(y + tall, height)), y) for y in range(0, height, tall)]
    tiles = [(*strip, x) for strip in strips for x in range(0, width, wide)]
    if target.device.type == "cpu":
        map_single_threaded(fill, tiles)
    else:
        for tile in tiles:
            fill(tile)


def _tile_size(target: Tensor) -> tuple[int, int]:
    """Return the rows and columns of a tile."""
    _, width, classes = target.shape
    on_cpu = target.device.type == "cpu"
    limit, tall = (CPU_TILE, CPU_ROWS) if on_cpu else (GPU_TILE, GPU_ROWS)
    count = math.ceil(width * tall * classes / limit)
    if on_cpu and count > 1:
        count += -count % torch.get_num_threads()  # as many for each thread
    return tall, math.ceil(width / count)


class _Overlap(NamedTuple):
    """Rows of the result that a window touches."""

    window: WindowLogits
    first: int
    rows: RowInterpolator


def _overlaps(windows: Sequence[WindowLogits], start: int, stop: int) -> list[_Overlap]:
    """Find the windows that touch the rows ``start`` to ``stop``, each with its own part of them."""
    found = []
    for window in windows:
        first, last = max(start, window.rows.first), min(stop, window.rows.stop)
        if first < last:
            found.append(_Overlap(window, first, window.row_interpolator(first, last)))
    return found
