"""Arithmetic on bands of scores, all of shape (rows, W, C): classes last, so that a pixel lies together."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from utils.dataset_info import IGNORE_INDEX
from utils.predict.parallel import for_each

_DECIDED_ROWS = 16  # at a time on a CPU
LOG2_E = 1 / math.log(2)  # 2 to the power of this is e


def decide(scores: Tensor) -> Tensor:
    """The class with the highest score, the first of equals: (rows, W, C) to (rows, W) uint8.

    With a single class, 0 where its score is at least 0.5 and void elsewhere.
    """
    result = torch.empty(scores.shape[:-1], dtype=torch.uint8, device=scores.device)

    def fill(rows: slice) -> None:
        if scores.shape[-1] == 1:
            result[rows] = torch.where(scores[rows, :, 0] >= 0.5, 0, IGNORE_INDEX)
        else:
            result[rows] = scores[rows].argmax(dim=-1)

    if scores.device.type == "cpu":
        for_each(fill, [slice(y, y + _DECIDED_ROWS) for y in range(0, len(scores), _DECIDED_ROWS)])
    else:
        fill(slice(None))
    return result


def probability(logits: Tensor) -> Tensor:
    """Softmax (of one class: sigmoid) of (..., C) logits, in float32."""
    logits = logits.float()
    return logits.sigmoid() if logits.shape[-1] == 1 else logits.softmax(dim=-1)


def add_probability(target: Tensor, logits: Tensor, weight: Tensor) -> None:
    """Add the weighted softmax (of one class: sigmoid) of logits, in float32.

    Args:
        target: (rows, W, C) float32, added to in place.
        logits: (rows, W, C).
        weight: of every pixel, (rows, W), or a single number.
    """
    target.addcmul_(probability(logits), weight[..., None])


def add_binary_probability(target: Tensor, exponents: Tensor, weight: Tensor) -> None:
    """The same for several classes on a CPU, from ``logits * LOG2_E`` of :func:`tame` logits.

    It takes half the time there: powers of 2 are vectorised where those of e may not be, and the weight and the
    normalisation are one factor.

    Args:
        target: (rows, W, C) float32, added to in place.
        exponents: (rows, W, C) float32, contiguous; overwritten.
        weight: of every pixel, (rows, W), or a single number.
    """
    powers = exponents.exp2_()
    # a product, then a sum: together they would be rounded once, and the order of two layers would show
    target.add_(powers.mul_(weight[..., None] / powers.sum(dim=-1, keepdim=True)))


def tame(logits: Tensor) -> bool:
    """Whether logits on a CPU can be exponentiated as they are, and summed.

    No result leaves the normal numbers of float32 then (1e-38 to 3e38). What is interpolated between tame
    logits is tame too.
    """
    if logits.device.type != "cpu":  # the answer would make a GPU wait
        return False
    low, high = torch.aminmax(logits)
    return low.item() > -80 and high.item() < 80


def scroll(buffer: Tensor, rows: int) -> None:
    """Move the content up by ``rows`` and clear what comes in at the bottom."""
    kept = len(buffer) - rows
    for top in range(0, kept, rows):  # in pieces that do not overlap what they are copied to
        count = min(rows, kept - top)
        buffer[top : top + count] = buffer[top + rows : top + rows + count]
    buffer[kept:] = 0
