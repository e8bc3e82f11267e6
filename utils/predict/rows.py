"""Rows of the result, accumulated over windows and handed out from top to bottom once they are complete."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from utils.predict.scores import scroll
from utils.predict.window_logits import WindowLogits, add_windows

BAND_ROWS = 64  # few, so that a band takes little memory; enough to occupy all threads


class Band(NamedTuple):
    """Consecutive rows of the result.

    Attributes:
        top: first row.
        scores: (rows, W, C) float32 on the device; probabilities that sum to 1 over the classes. Valid
            until the next band is asked for.
    """

    top: int
    scores: Tensor


class RowAccumulator:
    """The incomplete rows of the result: windows are added, complete rows are handed out.

    Attributes:
        next_row: the first row that has not been handed out.

    Args:
        height: of the result.
        width: of the result.
        classes: number of classes.
        tallest: the most rows that one window touches.
        device: device of the scores.
    """

    def __init__(self, height: int, width: int, classes: int, tallest: int, device: torch.device) -> None:
        self.next_row = 0
        self._shape = (min(height, tallest), width, classes)
        self._device = device
        self._kept: list[WindowLogits] = []
        self._buffer: Tensor | None = None

    def add(self, window: WindowLogits, *, keep: bool) -> None:
        """Add a window: keep its logits as they are, or add its probabilities to a buffer at once."""
        if keep:
            self._kept.append(window)
            return
        if self._buffer is None:
            self._buffer = torch.zeros(self._shape, device=self._device)
        rows = slice(window.rows.first - self.next_row, window.rows.stop - self.next_row)
        add_windows(self._buffer[rows], window.rows.first, [window])

    def complete(self, stop: int) -> Iterator[Band]:
        """Hand out the rows above ``stop``, which no later window touches."""
        while self.next_row < stop:
            if self._buffer is None:
                count = min(BAND_ROWS, stop - self.next_row)
                scores = torch.empty((count, *self._shape[1:]), device=self._device)
            else:
                count = min(len(self._buffer), stop - self.next_row)
                scores = self._buffer[:count]
            add_windows(scores, self.next_row, self._kept, clear=self._buffer is None)
            yield Band(self.next_row, scores)
            self.next_row += count
            if self._buffer is not None:
                scroll(self._buffer, count)
            self._kept = [window for window in self._kept if window.rows.stop > self.next_row]


def logit_bands(window: WindowLogits) -> Iterator[Band]:
    """Bands of the logits of the only window, without the softmax."""
    for top in range(0, window.rows.stop, BAND_ROWS):
        rows = window.row_interpolator(top, min(top + BAND_ROWS, window.rows.stop))
        yield Band(top, window.interpolate(rows, window.columns.first, window.columns.stop))
