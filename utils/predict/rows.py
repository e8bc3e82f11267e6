"""Rows of a result, handed out from top to bottom as soon as they are complete."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from utils.predict.layer import ScoreLayer, add_layers
from utils.predict.scores import scroll

BAND_ROWS = 64  # few, so that a result takes little memory; enough to occupy all threads


class Band(NamedTuple):
    """Consecutive rows of a result.

    Attributes:
        top: first row.
        scores: (rows, W, C) float32 on the device; probabilities that sum to 1 over the classes. Valid
            until the next band is asked for.
    """

    top: int
    scores: Tensor


class Rows:
    """The rows of a result that are not complete yet.

    Args:
        height: of the result.
        width: of the result.
        classes: number of classes.
        tallest: the most rows that one layer touches.
        device: where the scores are.
    """

    def __init__(self, height: int, width: int, classes: int, tallest: int, device: torch.device) -> None:
        self.base = 0  # the first incomplete row
        self._shape = (min(height, tallest), width, classes)
        self._device = device
        self._kept: list[ScoreLayer] = []
        self._buffer: Tensor | None = None

    def add(self, layer: ScoreLayer, *, keep: bool) -> None:
        """Take a layer in: as it is, or added to a buffer at once."""
        if keep:
            self._kept.append(layer)
            return
        if self._buffer is None:
            self._buffer = torch.zeros(self._shape, device=self._device)
        rows = slice(layer.rows.first - self.base, layer.rows.stop - self.base)
        add_layers(self._buffer[rows], layer.rows.first, [layer])

    def complete(self, stop: int) -> Iterator[Band]:
        """Everything above row ``stop`` is known: hand it out."""
        while self.base < stop:
            if self._buffer is None:
                count = min(BAND_ROWS, stop - self.base)
                scores = torch.empty((count, *self._shape[1:]), device=self._device)
            else:
                count = min(len(self._buffer), stop - self.base)
                scores = self._buffer[:count]
            add_layers(scores, self.base, self._kept, clear=self._buffer is None)
            yield Band(self.base, scores)
            self.base += count
            if self._buffer is not None:
                scroll(self._buffer, count)
            self._kept = [layer for layer in self._kept if layer.rows.stop > self.base]


def logit_bands(layer: ScoreLayer) -> Iterator[Band]:
    """The only layer's logits, not yet made probabilities."""
    for top in range(0, layer.rows.stop, BAND_ROWS):
        rows = layer.row_reader(top, min(top + BAND_ROWS, layer.rows.stop))
        yield Band(top, layer.logits(rows, layer.columns.first, layer.columns.stop))
