"""Losses: pure functions of logits and target, in fp32, that give void pixels no gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils.dataset_info import IGNORE_INDEX
from utils.types import Fraction


class BaseLoss(nn.Module, ABC):
    """Base of every loss.

    A step's loss may be computed in parts (micro-batches, ranks): each part is divided by the
    ``normalizer`` of the whole step, and the parts add up to what one big batch would give.
    """

    @abstractmethod
    def forward(self, logits: Tensor, target: Tensor, normalizer: Tensor | None = None) -> Tensor:
        """A scalar.

        Args:
            logits: (N, C, H, W), any float type.
            target: (N, H, W) int64 class indices or void.
            normalizer: what the whole step is divided by; ``None`` is this batch's own.
        """

    @abstractmethod
    def normalizer(self, target: Tensor) -> Tensor:
        """What this batch contributes to the divisor of its step, a scalar."""


class CrossEntropyLoss2d(BaseLoss):
    """Cross-entropy per pixel, averaged over the valid pixels of a step (weighted, with weights).

    Args:
        weight: one weight per class.
        ignore_index: void.
        label_smoothing: share of the target spread over all classes.
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Sequence[float] | None = None,
        ignore_index: int = IGNORE_INDEX,
        label_smoothing: Fraction = 0.0,
    ) -> None:
        super().__init__()
        self.register_buffer("weight", None if weight is None else torch.as_tensor(weight, dtype=torch.float32))
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, target: Tensor, normalizer: Tensor | None = None) -> Tensor:
        total = F.cross_entropy(
            logits.float(),
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            reduction="sum",
        )
        divisor = self.normalizer(target) if normalizer is None else normalizer
        return total / divisor.clamp_min(torch.finfo(torch.float32).tiny)

    def normalizer(self, target: Tensor) -> Tensor:
        valid = target != self.ignore_index
        if self.weight is None:
            return valid.sum().float()
        return self.weight[target.masked_fill(~valid, 0)].mul(valid).sum()
