"""One forward pass's share of a result: logits at the network's own resolution, and where they belong.

Networks decide on a grid that is 4 to 32 times coarser than the image. Keeping that grid and
interpolating only the rows at hand costs a fraction of the memory of logits at the image's size, and the
softmax is taken where the pixels of the result are: at the image's own resolution, whatever the scale or
the transform that the network saw.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from utils.predict.options import Transform
from utils.predict.parallel import for_each
from utils.predict.resample import ColumnReader, Placement, RowReader
from utils.predict.scores import LOG2_E, add_binary_probability, add_probability, tame
from utils.predict.windows import Span

CPU_TILE, CPU_ROWS = 2**19, 32  # scores worked on at a time: they stay in the processor's cache
GPU_TILE, GPU_ROWS = 2**26, 64  # few rows: mixing them costs as much per score as a tile has rows


class ScoreLayer:
    """The logits of one window under one transform, placed on the result.

    Args:
        logits: (C, h, w) as the network gave them for the transformed window, of any float type.
        row: the window's rows, in the image's own orientation.
        column: its columns.
        padded: (height, width) that the logits cover, in pixels of what the network saw.
        transform: what was done to the window before the network saw it.
        share: factor of all weights.
    """

    def __init__(
        self,
        logits: Tensor,
        row: Span,
        column: Span,
        padded: tuple[int, int],
        transform: Transform,
        share: float,
    ) -> None:
        scores = logits.permute(1, 2, 0)
        flips = transform.flip_rows, transform.flip_columns
        if transform.transpose:
            scores, padded, flips = scores.transpose(0, 1), padded[::-1], flips[::-1]
        self.scores = scores.contiguous()
        self.rows = Placement.of(row, padded[0], scores.shape[0], flips[0])
        self.columns = Placement.of(column, padded[1], scores.shape[1], flips[1])
        self.share = share
        self._tame = tame(self.scores)
        self._readers: dict[tuple[int, int], ColumnReader] = {}

    @property
    def is_coarse(self) -> bool:
        """Whether it takes at most a quarter of the memory of its pixels' scores."""
        pixels = (self.rows.stop - self.rows.first) * (self.columns.stop - self.columns.first)
        return 4 * self.scores.shape[0] * self.scores.shape[1] <= pixels

    def row_reader(self, start: int, stop: int) -> RowReader:
        """What reads the rows ``start`` to ``stop`` of the result; both must be inside."""
        return RowReader.of(self.rows.part(start, stop), self.share, self.scores.device)

    def logits(self, rows: RowReader, start: int, stop: int, factor: float = 1.0) -> Tensor:
        """Those of some rows and of the columns ``start`` to ``stop``, times a factor.

        Returns:
            (rows, columns, C) float32, contiguous, and a copy in any case.
        """
        columns = self._column_reader(start, stop)
        strip = self.scores[rows.grid, columns.grid].float() * factor  # while they are few
        return rows.read(columns.read(strip))

    def add_to(self, target: Tensor, rows: RowReader, start: int, stop: int) -> None:
        """Add the weighted probabilities of some rows and of the columns ``start`` to ``stop``.

        Args:
            target: (rows, columns, C) float32, added to in place.
            rows: as :meth:`row_reader` made it.
            start: first column of the result.
            stop: the column after the last.
        """
        weight = rows.weight * self._column_reader(start, stop).weight
        if self._tame and self.scores.shape[-1] > 1:
            add_binary_probability(target, self.logits(rows, start, stop, LOG2_E), weight)
        else:
            add_probability(target, self.logits(rows, start, stop), weight)

    def _column_reader(self, start: int, stop: int) -> ColumnReader:
        # asked for the same few ranges in every band
        if (start, stop) not in self._readers:
            self._readers[start, stop] = ColumnReader.of(self.columns.part(start, stop), self.scores.device)
        return self._readers[start, stop]


def add_layers(target: Tensor, top: int, layers: list[ScoreLayer], *, clear: bool = False) -> None:
    """Add what layers have to say about some rows of the result, tile by tile.

    Args:
        target: (rows, W, C) float32, added to in place.
        top: the row of the result that is its first.
        layers: those that lie elsewhere are skipped.
        clear: whether ``target`` is to be set to 0 first.
    """
    height, width, _ = target.shape
    on_cpu = target.device.type == "cpu"
    tall, wide = _tile(target)

    def fill(tile: tuple[list[_Part], int, int]) -> None:
        parts, y, x = tile
        if clear:
            target[y : y + tall, x : x + wide] = 0
        for layer, first, rows in parts:
            start, stop = max(x, layer.columns.first), min(x + wide, width, layer.columns.stop)
            if start < stop:
                layer.add_to(target[first - top :, start:stop][: len(rows.weight)], rows, start, stop)

    strips = [(_overlapping(layers, top + y, top + min(y + tall, height)), y) for y in range(0, height, tall)]
    tiles = [(*strip, x) for strip in strips for x in range(0, width, wide)]
    if on_cpu:
        for_each(fill, tiles)
    else:
        for tile in tiles:
            fill(tile)


def _tile(target: Tensor) -> tuple[int, int]:
    """Rows and columns to work on at a time."""
    _, width, classes = target.shape
    on_cpu = target.device.type == "cpu"
    limit, tall = (CPU_TILE, CPU_ROWS) if on_cpu else (GPU_TILE, GPU_ROWS)
    count = math.ceil(width * tall * classes / limit)
    if on_cpu and count > 1:
        count += -count % torch.get_num_threads()  # as many for each thread
    return tall, math.ceil(width / count)


class _Part(NamedTuple):
    """Rows of the result that a layer touches."""

    layer: ScoreLayer
    first: int
    rows: RowReader


def _overlapping(layers: list[ScoreLayer], start: int, stop: int) -> list[_Part]:
    """The layers that touch some rows of the result, each with its own part of them."""
    found = []
    for layer in layers:
        first, last = max(start, layer.rows.first), min(stop, layer.rows.stop)
        if first < last:
            found.append(_Part(layer, first, layer.row_reader(first, last)))
    return found
