"""Arithmetic on bands of scores, all of shape (rows, W, C): classes last, so that a pixel lies together."""

from __future__ import annotations

import torch
from torch import Tensor

from utils.dataset_info import IGNORE_INDEX

_FEW_CLASSES = 64


def decide(scores: Tensor) -> Tensor:
    """The class with the highest score, the first of equals: (rows, W, C) to (rows, W) uint8.

    With a single class, 0 where its score is at least 0.5 and void elsewhere.
    """
    if scores.shape[-1] == 1:
        return torch.where(scores[..., 0] >= 0.5, 0, IGNORE_INDEX).to(torch.uint8)
    return scores.argmax(dim=-1).to(torch.uint8)


def probability(logits: Tensor) -> Tensor:
    """Softmax (of one class: sigmoid) of (..., C) logits, in float32."""
    logits = logits.float()
    return logits.sigmoid() if logits.shape[-1] == 1 else logits.softmax(dim=-1)


def add_probability(target: Tensor, logits: Tensor, weight: Tensor, *, tame: bool = False) -> None:
    """Add the weighted softmax (of one class: sigmoid) of logits, in float32.

    Args:
        target: (rows, W, C) float32, added to in place.
        logits: (rows, W, C).
        weight: of every pixel, (rows, W), or a single number.
        tame: the logits are known to be :func:`tame`.
    """
    if tame and 1 < logits.shape[-1] <= _FEW_CLASSES:
        # torch's softmax over a short last dimension costs two to twenty times as much
        scores = logits.exp()
        scores.mul_(scores.sum(dim=-1, keepdim=True).reciprocal_())
    else:
        scores = probability(logits)
    target.addcmul_(scores, weight[..., None])


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
