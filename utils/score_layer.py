"""One forward pass's share of a result: logits at the network's own resolution, and where they belong.

Networks decide on a grid that is 4 to 32 times coarser than the image. Keeping that grid and
interpolating only the rows at hand costs a fraction of the memory of logits at the image's size, and the
softmax is taken where the pixels of the result are: at the image's own resolution, whatever the scale or
the transform that the network saw.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from utils.scores import add_probability, tame
from utils.serial_threads import for_each
from utils.tiling import Span, neighbours
from utils.tta import Transform

CPU_TILE, CPU_ROWS = 2**18, 16  # scores worked on at a time: they stay in the processor's cache
GPU_TILE, GPU_ROWS = 2**26, 64  # few rows: mixing them costs as much per score as a tile has rows


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

    @property
    def is_coarse(self) -> bool:
        """Whether it takes at most a quarter of the memory of its pixels' scores."""
        pixels = (self.rows.stop - self.rows.first) * (self.columns.stop - self.columns.first)
        return 4 * self.scores.shape[0] * self.scores.shape[1] <= pixels

    def sample(self, rows: Placement, columns: Placement) -> Tensor:
        """Logits of some pixels, (rows, columns, C) float32."""
        low, high = int(rows.lower.min()), int(rows.upper.max()) + 1
        strip = self._columns(self.scores[low:high], columns)
        mixing = _mixing_matrix(rows, low, high)
        if mixing is None:
            return strip
        mixed = torch.mm(torch.from_numpy(mixing).to(strip.device), strip.reshape(len(strip), -1))
        return mixed.view(-1, *strip.shape[1:])

    def add_to(self, target: Tensor, rows: Placement, columns: Placement) -> None:
        """Add the weighted probabilities of some pixels to (rows, columns, C) float32."""
        row, column = rows.weight * np.float32(self.share), columns.weight
        uniform = row.min() == row.max() and column.min() == column.max()
        weight = row[:1] * column[:1] if uniform else np.outer(row, column)
        scores, weights = self.sample(rows, columns), torch.from_numpy(weight).to(target.device)
        add_probability(target, scores, weights, tame=self._tame)

    def _columns(self, strip: Tensor, columns: Placement) -> Tensor:
        """(k, w, C) interpolated along the row to (k, columns, C) float32."""
        if not columns.fraction.any() and (np.diff(columns.lower) == 1).all():
            return strip[:, columns.lower[0] : columns.upper[-1] + 1].float()
        lower, upper = (
            strip.index_select(1, torch.from_numpy(index).to(strip.device)).float()
            for index in (columns.lower, columns.upper)
        )
        fraction = torch.from_numpy(columns.fraction.astype(np.float32)).to(strip.device)
        return torch.lerp(lower, upper, fraction[:, None])


def _mixing_matrix(rows: Placement, low: int, high: int) -> np.ndarray | None:
    """(rows, high - low) float32 that interpolates by multiplication; None where nothing is to be done."""
    count = len(rows.lower)
    if count == high - low and not rows.fraction.any() and (np.diff(rows.lower) == 1).all():
        return None
    mixing = np.zeros((count, high - low), dtype=np.float32)
    index = np.arange(count)
    mixing[index, rows.upper - low] = rows.fraction
    mixing[index, rows.lower - low] += (1 - rows.fraction).astype(np.float32)
    return mixing


def add_layers(target: Tensor, top: int, layers: list[ScoreLayer]) -> None:
    """Add what layers have to say about some rows of the result, tile by tile.

    Args:
        target: (rows, W, C) float32, added to in place.
        top: the row of the result that is its first.
        layers: those that lie elsewhere are skipped.
    """
    height, width, classes = target.shape
    on_cpu = target.device.type == "cpu"
    limit, tall = (CPU_TILE, CPU_ROWS) if on_cpu else (GPU_TILE, GPU_ROWS)
    wide = max(1, min(width, limit // (tall * classes)))

    def fill(tile: tuple[list[tuple[ScoreLayer, Placement]], int]) -> None:
        here, x = tile
        for layer, rows in here:
            start, stop = max(x, layer.columns.first), min(x + wide, width, layer.columns.stop)
            if start < stop:
                part = target[rows.first - top : rows.stop - top, start:stop]
                layer.add_to(part, rows, layer.columns.part(start, stop))

    strips = [_overlapping(layers, top + y, top + min(y + tall, height)) for y in range(0, height, tall)]
    tiles = [(strip, x) for strip in strips for x in range(0, width, wide)]
    if on_cpu:
        for_each(fill, tiles)
    else:
        for tile in tiles:
            fill(tile)


def _overlapping(layers: list[ScoreLayer], start: int, stop: int) -> list[tuple[ScoreLayer, Placement]]:
    """The layers that touch some rows of the result, each with its own part of them."""
    found = []
    for layer in layers:
        rows = layer.rows
        if rows.first < stop and rows.stop > start:
            found.append((layer, rows.part(max(start, rows.first), min(stop, rows.stop))))
    return found
