"""Contract of every loss, and its two kinds: sums over pixels, and figures of regions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from utils.dataset_info import IGNORE_INDEX

TINY = torch.finfo(torch.float32).tiny  # 0 / TINY is 0: a step without a valid pixel costs nothing


class BaseLoss(nn.Module, ABC):
    """Base of every loss: a pure function of logits and target in fp32 (or fp64); void has no gradient.

    The loss of a step may be computed in parts (micro-batches, ranks): each part is divided by the
    ``normalizer`` of all parts together, and the results add up.

    Attributes:
        adds_up: the loss of a batch is the mean of its images' losses, by their normalizers. A validation computes
            any other loss image by image, so that it does not depend on the batch size.

    Args:
        ignore_index: class index of void pixels.
    """

    adds_up: bool = False

    def __init__(self, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor, normalizer: Tensor | None = None) -> Tensor:
        """Compute the loss of one batch, or its share of the loss of a step.

        Args:
            logits: (N, C, H, W), unnormalised, any float type; half precision is computed in fp32.
            target: (N, H, W) int64 class indices or void; not changed.
            normalizer: divisor of the step; this batch's own if ``None``.

        Returns:
            A scalar, at least 0; 0 with zero gradients if every pixel is void.
        """
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        with torch.autocast(logits.device.type, enabled=False):
            return self._share(logits, target, normalizer)

    @abstractmethod
    def normalizer(self, target: Tensor) -> Tensor:
        """Contribution of a batch with this target (N, H, W) to the divisor of its step, a scalar."""

    @abstractmethod
    def _share(self, logits: Tensor, target: Tensor, normalizer: Tensor | None) -> Tensor:
        """Compute :meth:`forward` for logits of full precision, outside autocast."""

    def _valid(self, target: Tensor) -> Tensor:
        return target != self.ignore_index


class PixelLoss(BaseLoss):
    """Base of losses that are weighted means over pixels; parts of a step add up exactly.

    Args:
        weight: one weight per class.
        ignore_index: class index of void pixels.

    Raises:
        ValueError: a weight is negative or not finite, or none is above 0.
    """

    adds_up = True
    weight: Tensor | None

    def __init__(self, weight: Sequence[float] | None = None, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__(ignore_index)
        self.register_buffer("weight", as_weight(weight))

    def normalizer(self, target: Tensor) -> Tensor:
        """Number of valid pixels, or the sum of their class weights."""
        valid = self._valid(target)
        if self.weight is None:
            return valid.sum().float()
        return self.weight[target.masked_fill(~valid, 0)].mul(valid).sum()

    def _share(self, logits: Tensor, target: Tensor, normalizer: Tensor | None) -> Tensor:
        divisor = self.normalizer(target) if normalizer is None else normalizer
        return self._total(logits, target) / divisor.clamp_min(TINY)

    @abstractmethod
    def _total(self, logits: Tensor, target: Tensor) -> Tensor:
        """Sum the loss over the valid pixels, each times its class weight."""


class RegionLoss(BaseLoss):
    """Base of losses of regions, which no sum over pixels expresses.

    The parts of a step are averaged by their numbers of images with a valid pixel. With ``per_image`` that
    equals the loss of one big batch; without, it is the mean of the parts' losses.
    """

    def normalizer(self, target: Tensor) -> Tensor:
        """Number of images with a valid pixel."""
        return self._valid(target).flatten(1).any(dim=1).sum().float()

    def _share(self, logits: Tensor, target: Tensor, normalizer: Tensor | None) -> Tensor:
        own = self.normalizer(target)
        divisor = own if normalizer is None else normalizer
        return self._value(logits, target) * (own / divisor.clamp_min(TINY))

    @abstractmethod
    def _value(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of this batch, a scalar."""


def as_weight(weight: Sequence[float] | None) -> Tensor | None:
    """Turn class weights into a float32 tensor (C,); ``None`` stays ``None``.

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
    """Flatten logits to (N, C, H*W) and target to (N, H*W), without a copy where the layout allows it."""
    return logits.flatten(2), target.flatten(1)
