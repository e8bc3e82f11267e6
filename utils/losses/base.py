"""The contract of every loss, and the two ways to keep it: sums over pixels, and figures of regions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from utils.dataset_info import IGNORE_INDEX

_TINY = torch.finfo(torch.float32).tiny  # 0 / _TINY is 0: a step without a valid pixel costs nothing


class BaseLoss(nn.Module, ABC):
    """Base of every loss: a pure function of logits and target, in fp32 (or fp64), void without gradient.

    A step's loss may be computed in parts (micro-batches, ranks): each part is divided by the
    ``normalizer`` of the whole step, and the parts add up.

    Args:
        ignore_index: void.
    """

    def __init__(self, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor, normalizer: Tensor | None = None) -> Tensor:
        """The loss of one batch, or its share of a step's loss.

        Args:
            logits: (N, C, H, W), any float type; half precision is computed in fp32.
            target: (N, H, W) int64 class indices or void; not changed.
            normalizer: what the whole step is divided by; ``None`` is this batch's own.

        Returns:
            A scalar, at least 0; 0 with zero gradients if every pixel is void.
        """
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        with torch.autocast(logits.device.type, enabled=False):
            return self._share(logits, target, normalizer)

    @abstractmethod
    def normalizer(self, target: Tensor) -> Tensor:
        """What a batch with this target (N, H, W) contributes to the divisor of its step, a scalar."""

    @abstractmethod
    def _share(self, logits: Tensor, target: Tensor, normalizer: Tensor | None) -> Tensor:
        """:meth:`forward` for logits of full precision, outside autocast."""

    def _valid(self, target: Tensor) -> Tensor:
        return target != self.ignore_index


class PixelLoss(BaseLoss):
    """A loss that is a weighted mean over pixels; parts of a step add up exactly.

    Args:
        weight: one weight per class.
        ignore_index: void.
    """

    weight: Tensor | None

    def __init__(self, weight: Sequence[float] | None = None, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__(ignore_index)
        self.register_buffer("weight", as_weight(weight))

    def normalizer(self, target: Tensor) -> Tensor:
        valid = self._valid(target)
        if self.weight is None:
            return valid.sum().float()
        return self.weight[target.masked_fill(~valid, 0)].mul(valid).sum()

    def _share(self, logits: Tensor, target: Tensor, normalizer: Tensor | None) -> Tensor:
        divisor = self.normalizer(target) if normalizer is None else normalizer
        return self._total(logits, target) / divisor.clamp_min(_TINY)

    @abstractmethod
    def _total(self, logits: Tensor, target: Tensor) -> Tensor:
        """Sum over the valid pixels, each times its class weight."""


class RegionLoss(BaseLoss):
    """A loss of whole regions, which no sum over pixels expresses.

    The parts of a step are averaged by their numbers of images with a valid pixel. With ``per_image`` that
    equals the loss of one big batch; without, it is the mean of the parts' losses.
    """

    def normalizer(self, target: Tensor) -> Tensor:
        return self._valid(target).flatten(1).any(dim=1).sum().float()

    def _share(self, logits: Tensor, target: Tensor, normalizer: Tensor | None) -> Tensor:
        own = self.normalizer(target)
        divisor = own if normalizer is None else normalizer
        return self._value(logits, target) * (own / divisor.clamp_min(_TINY))

    @abstractmethod
    def _value(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of this batch."""


def as_weight(weight: Sequence[float] | None) -> Tensor | None:
    """Class weights as a tensor.

    Raises:
        ValueError: a weight is negative or not finite, or none is above 0.
    """
    if weight is None:
        return None
    tensor = torch.as_tensor(weight, dtype=torch.float32)
    if tensor.ndim != 1 or not tensor.isfinite().all() or (tensor < 0).any() or not (tensor > 0).any():
        raise ValueError("weight: one number per class is needed, none negative, at least one above 0")
    return tensor


def rows(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Logits as (N, C, H*W) and target as (N, H*W), without a copy where the layout allows it."""
    return logits.flatten(2), target.flatten(1)
