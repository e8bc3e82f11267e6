"""Arithmetic on bands of scores, all of shape (rows, W, C): classes last, so that a pixel lies together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from utils.dataset_info import IGNORE_INDEX
from utils.tiling import Span


def decide(scores: Tensor) -> Tensor:
    """The class with the highest score, the first of equals: (rows, W, C) to (rows, W) uint8.

    With a single class, 0 where its score is at least 0.5 and void elsewhere.
    """
    if scores.shape[-1] == 1:
        return torch.where(scores[..., 0] >= 0.5, 0, IGNORE_INDEX).to(torch.uint8)
    return scores.argmax(dim=-1).to(torch.uint8)


def mean_probability(logits: Sequence[Tensor]) -> Tensor:
    """Mean over a list of (..., C) logits of their softmax (of one class: sigmoid) in float32."""
    total = _probability(logits[0])
    for other in logits[1:]:
        total = total.add_(_probability(other))
    return total.div_(len(logits)) if len(logits) > 1 else total


def _probability(logits: Tensor) -> Tensor:
    logits = logits.float()
    return logits.sigmoid() if logits.shape[-1] == 1 else logits.softmax(dim=-1)


def resample(scores: Tensor, span: Span, axis: int) -> Tensor:
    """Linear interpolation along one axis of (h, w, C) to the result's pixels."""
    if not span.resampled:
        return scores
    lower, upper, fraction = (
        torch.from_numpy(array).to(scores.device) for array in (span.lower, span.upper, span.fraction)
    )
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    return torch.lerp(
        scores.index_select(axis, lower), scores.index_select(axis, upper), fraction.view(shape)
    )


def scroll(buffer: Tensor, rows: int) -> None:
    """Move the content up by ``rows`` and clear what comes in at the bottom."""
    kept = len(buffer) - rows
    for top in range(0, kept, rows):  # in pieces that do not overlap what they are copied to
        count = min(rows, kept - top)
        buffer[top : top + count] = buffer[top + rows : top + rows + count]
    buffer[kept:] = 0
