"""Losses that are means over pixels: cross-entropy and its variants."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from utils.config.annotations import Fraction, NonNegativeFloat, PositiveInt
from utils.dataset_info import IGNORE_INDEX
from utils.losses.base import PixelLoss


class CrossEntropyLoss2d(PixelLoss):
    """Cross-entropy per pixel, averaged over the valid pixels of a step (weighted, with weights).

    Args:
        weight: one weight per class.
        ignore_index: class index of void pixels.
        label_smoothing: share of the target, 0..1, spread over all classes (Szegedy et al., 2016).
    """

    def __init__(
        self,
        weight: Sequence[float] | None = None,
        ignore_index: int = IGNORE_INDEX,
        label_smoothing: Fraction = 0.0,
    ) -> None:
        super().__init__(weight, ignore_index)
        self.label_smoothing = label_smoothing

    def _total(self, logits: Tensor, target: Tensor) -> Tensor:
        if torch.are_deterministic_algorithms_enabled():  # where torch refuses its own sum on a GPU
            return self._per_pixel(logits, target).sum()
        return self._per_pixel(logits, target, "sum")

    def _per_pixel(self, logits: Tensor, target: Tensor, reduction: str = "none") -> Tensor:
        """Cross-entropy of every pixel (N, H, W), 0 where void; or its sum."""
        return F.cross_entropy(
            logits,
            target,
            weight=None if self.weight is None else self.weight.to(logits.dtype),
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            reduction=reduction,
        )


class FocalLoss(PixelLoss):
    """Cross-entropy times (1 - p) ** gamma, p the probability of the true class: Lin et al., 2017.

    The result is the mean over valid pixels; with class weights (alpha in the paper) the weighted mean. p is the
    softmax probability, unweighted.

    Args:
        gamma: discount of easy pixels; 0 is cross-entropy.
        weight: one weight per class.
        ignore_index: class index of void pixels.
    """

    def __init__(
        self,
        gamma: NonNegativeFloat = 2.0,
        weight: Sequence[float] | None = None,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__(weight, ignore_index)
        self.gamma = gamma

    def _total(self, logits: Tensor, target: Tensor) -> Tensor:
        entropy = F.cross_entropy(logits, target, ignore_index=self.ignore_index, reduction="none")
        # -expm1(-x) is 1 - p without cancellation; the floor keeps the power differentiable at 0
        share = (-torch.expm1(-entropy)).clamp_min(torch.finfo(entropy.dtype).tiny)
        loss = share**self.gamma * entropy
        if self.weight is not None:
            void = target == self.ignore_index
            loss = loss * self.weight.to(loss.dtype)[target.masked_fill(void, 0)]
        return loss.sum()


class BCELoss(PixelLoss):
    """Binary cross-entropy of a sigmoid per class, averaged over the valid pixels of a step.

    With one logit, every class but 0 is positive. Two logits are one decision too: the sigmoid of their
    difference, which for a model with one logit (the other is 0) is the sigmoid of that logit. With more, each
    class is separated from all others, and the loss of a pixel is the mean over classes.

    Args:
        weight: one weight per class; with one logit, those of negative and positive pixels.
        ignore_index: class index of void pixels.
    """

    def _total(self, logits: Tensor, target: Tensor) -> Tensor:
        valid = self._valid(target)
        label = target.masked_fill(~valid, 0)
        # log(1 + e^x) - x * y, with y 1 for the true class only: no one-hot map is needed
        if logits.shape[1] <= 2:
            logit = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
            loss = F.softplus(logit) - logit * (label > 0)
        else:
            true = logits.gather(1, label[:, None])[:, 0]
            loss = (F.softplus(logits).sum(dim=1) - true) / logits.shape[1]
        if self.weight is not None:
            loss = loss * self.weight.to(loss.dtype)[label]
        return loss.mul(valid).sum()


class OhemCrossEntropy(CrossEntropyLoss2d):
    """Cross-entropy of the hard pixels only: Shrivastava, Gupta, Girshick, 2016.

    A pixel is hard if the probability of its class is below ``threshold``. If fewer than ``min_kept`` pixels of
    a batch are, the ``min_kept`` hardest valid ones count. The mean is over the hard pixels; parts of a step are
    averaged by their numbers of valid pixels.

    Args:
        threshold: probability of the true class below which a pixel is hard.
        min_kept: minimum of hard pixels per batch.
        weight: one weight per class.
        ignore_index: class index of void pixels.
    """

    adds_up = False

    def __init__(
        self,
        threshold: Fraction = 0.7,
        min_kept: PositiveInt = 100_000,
        weight: Sequence[float] | None = None,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__(weight, ignore_index)
        self.threshold = threshold
        self.min_kept = min_kept

    def _total(self, logits: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            hard = self._hard(logits, target)
        own = self.normalizer(target)
        kept = self.normalizer(target.masked_fill(~hard, self.ignore_index))
        total = self._per_pixel(logits, target).mul(hard).sum()
        return total * (own / kept.clamp_min(torch.finfo(torch.float32).tiny))

    def _hard(self, logits: Tensor, target: Tensor) -> Tensor:
        entropy = F.cross_entropy(logits, target, ignore_index=self.ignore_index, reduction="none")
        valid = self._valid(target)
        difficulty = entropy.masked_fill(~valid, -1.0)
        least = difficulty.flatten().topk(min(self.min_kept, difficulty.numel())).values[-1]
        limit = -torch.log(torch.tensor(max(self.threshold, 1e-12), device=logits.device, dtype=logits.dtype))
        return valid & (difficulty >= torch.minimum(least, limit))


class BoundaryCrossEntropy(CrossEntropyLoss2d):
    """Cross-entropy with more weight near the boundaries between classes.

    It is the weight map of U-Net (Ronneberger et al., 2015) with a flat band instead of a Gaussian. A border
    to void does not count as boundary.

    Args:
        boundary_weight: weight of a pixel in the band; other pixels have 1.
        radius: half width of the band in pixels.
        weight: one weight per class, multiplied in.
        ignore_index: class index of void pixels.
    """

    def __init__(
        self,
        boundary_weight: NonNegativeFloat = 5.0,
        radius: PositiveInt = 3,
        weight: Sequence[float] | None = None,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__(weight, ignore_index)
        self.boundary_weight = boundary_weight
        self.radius = radius

    def normalizer(self, target: Tensor) -> Tensor:
        """Sum of the weights of the valid pixels."""
        valid = self._valid(target)
        factor = self._factor(target) * valid
        if self.weight is not None:
            factor = factor * self.weight[target.masked_fill(~valid, 0)]
        return factor.sum()

    def _total(self, logits: Tensor, target: Tensor) -> Tensor:
        return self._per_pixel(logits, target).mul(self._factor(target)).sum()

    def _factor(self, target: Tensor) -> Tensor:
        """Weight per pixel (N, H, W): ``boundary_weight`` where two classes meet within ``radius``, else 1."""
        label, void = target.float()[:, None], ~self._valid(target)[:, None]
        size = 2 * self.radius + 1
        highest = F.max_pool2d(label.masked_fill(void, -torch.inf), size, 1, self.radius)
        lowest = -F.max_pool2d(-label.masked_fill(void, torch.inf), size, 1, self.radius)
        return torch.where(highest > lowest, self.boundary_weight, 1.0)[:, 0]
