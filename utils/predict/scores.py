"""Arithmetic on scores of shape (rows, W, C): classes come last, so the scores of a pixel are contiguous."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from utils.dataset_info import IGNORE_INDEX
from utils.predict.parallel import map_single_threaded

_ARGMAX_ROWS = 16  # per call on a CPU
_LARGEST_SAFE_LOGIT = 80.0  # exp(80) is 5.5e34: a sum over 255 classes stays below 3.4e38
LOG2_E = 1 / math.log(2)  # 2 ** LOG2_E == e


def argmax_classes(scores: Tensor) -> Tensor:
    """Return the class index with the highest score of every pixel, the lowest index of equals.

    Args:
        scores: (rows, W, C); with a single class, its probability.

    Returns:
        (rows, W) uint8. With a single class, 0 where its score is at least 0.5, void elsewhere.
    """
    result = torch.empty(scores.shape[:-1], dtype=torch.uint8, device=scores.device)

    def fill(rows: slice) -> None:
        if scores.shape[-1] == 1:
            result[rows] = torch.where(scores[rows, :, 0] >= 0.5, 0, IGNORE_INDEX)
        else:
            result[rows] = scores[rows].argmax(dim=-1)

    if scores.device.type == "cpu":
        map_single_threaded(fill, [slice(y, y + _ARGMAX_ROWS) for y in range(0, len(scores), _ARGMAX_ROWS)])
    else:
        fill(slice(None))
    return result


def add_softmax(target: Tensor, logits: Tensor, weight: Tensor) -> None:
    """Add the weighted softmax (of a single class: sigmoid) of logits, computed in float32.

    Args:
        target: (rows, W, C) float32, added to in place.
        logits: (rows, W, C).
        weight: of every pixel, (rows, W), or a single number.
    """
    logits = logits.float()
    probability = logits.sigmoid() if logits.shape[-1] == 1 else logits.softmax(dim=-1)
    target.addcmul_(probability, weight[..., None])


def add_softmax_base2(target: Tensor, exponents: Tensor, weight: Tensor) -> None:
    """Add the weighted softmax of ``exponents / LOG2_E``, several classes on a CPU, as powers of 2.

    It takes half the time of :func:`add_softmax` there: powers of 2 are vectorised where those of e may not
    be, and weighting and normalisation are one factor.

    Args:
        target: (rows, W, C) float32, added to in place.
        exponents: (rows, W, C) float32, contiguous: ``logits * LOG2_E`` of logits for which :func:`exp_is_safe`
            holds; overwritten.
        weight: of every pixel, (rows, W), or a single number.
    """
    powers = exponents.exp2_()
    # a product, then a sum: a fused operation rounds once, and the result would depend on the order of two windows
    target.add_(powers.mul_(weight[..., None] / powers.sum(dim=-1, keepdim=True)))


def exp_is_safe(logits: Tensor) -> bool:
    """Check that ``exp`` of CPU logits, and its sum over classes, stays within the normal range of float32.

    Logits interpolated between safe ones are safe too. Logits on any other device are never called safe: reading
    the answer would make the host wait.
    """
    if logits.device.type != "cpu":
        return False
    low, high = torch.aminmax(logits)
    return low.item() > -_LARGEST_SAFE_LOGIT and high.item() < _LARGEST_SAFE_LOGIT


def scroll(buffer: Tensor, rows: int) -> None:
    """Move the content of a buffer up by ``rows`` and clear the rows at the bottom."""
    kept = len(buffer) - rows
    for top in range(0, kept, rows):  # in pieces, because source and destination of a copy must not overlap
        count = min(rows, kept - top)
        buffer[top : top + count] = buffer[top + rows : top + rows + count]
    buffer[kept:] = 0
