"""Losses of overlap (Dice, Jaccard, Tversky) from three numbers per class and one softmax."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from utils.config.annotations import NonNegativeFloat
from utils.dataset_info import IGNORE_INDEX
from utils.losses.base import RegionLoss, as_weight, rows


class Overlap(NamedTuple):
    """Soft counts over the valid pixels of each image, each (N, C).

    Attributes:
        intersection: sum of a class's probability over the pixels of that class.
        predicted: sum of a class's probability over all pixels.
        truth: number of pixels of a class.
    """

    intersection: Tensor
    predicted: Tensor
    truth: Tensor


def overlap(logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Overlap, Tensor]:
    """Compute soft counts, and the negative log-likelihood of every pixel, from one softmax.

    Args:
        logits: (N, C, H, W).
        target: (N, H, W) class indices or void.
        ignore_index: class index of void pixels.

    Returns:
        The counts, and (N, H*W) negative log-likelihoods, 0 where void.
    """
    flat, labels = rows(logits, target)
    valid = labels != ignore_index
    labels = labels.masked_fill(~valid, 0)
    truth = logits.new_zeros(logits.shape[:2]).scatter_add_(1, labels, valid.to(logits.dtype))
    intersection, predicted, entropy = _SoftmaxOverlap.apply(flat, labels, valid)
    return Overlap(intersection, predicted, truth), entropy


class _SoftmaxOverlap(torch.autograd.Function):
    """Softmax, its sums per class and its negative log-likelihoods, with one large tensor kept for the backward.

    Autograd would keep the one-hot target, the probabilities, their logarithm and their products, and pass over
    each; written out, the gradient is two passes over the probabilities.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map (N, C, P), (N, P), (N, P) to intersection (N, C), predicted (N, C) and entropy (N, P)."""
        log_true = torch.log_softmax(logits, dim=1)
        entropy = -log_true.gather(1, labels[:, None])[:, 0] * valid
        probability = log_true.exp_()
        probability.mul_(valid[:, None])
        true = probability.gather(1, labels[:, None])[:, 0]
        predicted = probability.sum(dim=2)
        intersection = torch.zeros_like(predicted).scatter_add_(1, labels, true)
        ctx.save_for_backward(probability, labels, valid, true)
        return intersection, predicted, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Gradient of logit z_c: p_c (a_c + b) + [c is true] e, with b, e per pixel and a per class."""
        inside, outside, entropy = gradients
        probability, labels, valid, true = ctx.saved_tensors  # type: ignore[attr-defined]
        true_part = true * inside.gather(1, labels)
        mean = torch.bmm(outside[:, None], probability)[:, 0] + true_part
        entropy = entropy * valid
        grad = outside[:, :, None] + (entropy - mean)[:, None]
        grad.mul_(probability)
        grad.scatter_add_(1, labels[:, None], (true_part - entropy)[:, None])
        return grad, None, None


class OverlapLoss(RegionLoss):
    """Base of the losses 1 - overlap, averaged over the classes of an image or of the batch.

    Args:
        smooth: added to numerator and denominator; large values pull small regions towards 0.
        classes: ``present`` averages the classes that the target has, ``all`` every class.
        per_image: average the losses of the images instead of counting over the batch.
        micro: compute one figure from the sums over all classes, which large classes dominate.
        include_background: whether class 0 counts.
        weight: one weight per class in the average.
        ignore_index: class index of void pixels.

    Raises:
        ValueError: ``micro`` together with ``weight``, or bad weights.
    """

    weight: Tensor | None

    def __init__(
        self,
        smooth: NonNegativeFloat = 1.0,
        classes: Literal["present", "all"] = "present",
        per_image: bool = False,
        micro: bool = False,
        include_background: bool = True,
        weight: Sequence[float] | None = None,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__(ignore_index)
        if micro and weight is not None:
            raise ValueError("micro: sums over all classes have no class weights; leave out one of the two")
        self.smooth, self.classes = smooth, classes
        self.per_image, self.micro = per_image, micro
        self.first_class = 0 if include_background else 1
        self.register_buffer("weight", as_weight(weight))

    def _value(self, logits: Tensor, target: Tensor) -> Tensor:
        return self.from_overlap(overlap(logits, target, self.ignore_index)[0])

    def from_overlap(self, counts: Overlap) -> Tensor:
        """Compute the loss of soft counts, a scalar."""
        seen = counts.truth.sum(dim=1) > 0  # (N,) images with a valid pixel
        counts = Overlap(*(count[:, self.first_class :] for count in counts))
        if not self.per_image:
            counts, seen = Overlap(*(count.sum(dim=0, keepdim=True) for count in counts)), seen.any()[None]
        weight = torch.ones_like(counts.truth)
        if self.weight is not None:
            weight = weight * self.weight.to(weight.dtype)[self.first_class :]
        if self.classes == "present":
            weight = weight * (counts.truth > 0)
        if self.micro:
            counts = Overlap(*(count.sum(dim=1, keepdim=True) for count in counts))
            weight = torch.ones_like(counts.truth)
        floor = torch.finfo(weight.dtype).tiny
        loss = ((1 - self._ratio(counts)) * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(floor)
        return (loss * seen).sum() / seen.sum().clamp_min(1)

    @abstractmethod
    def _ratio(self, counts: Overlap) -> Tensor:
        """Overlap of each class, 0..1; 1 where prediction and target are empty."""

    def _divide(self, numerator: Tensor, denominator: Tensor) -> Tensor:
        floor = torch.finfo(numerator.dtype).tiny  # empty / empty is 1
        return (numerator + max(self.smooth, floor)) / (denominator + max(self.smooth, floor))


class DiceLoss(OverlapLoss):
    """1 - Dice of soft regions, 2 |A and B| / (|A| + |B|): Milletari, Navab, Ahmadi, 2016."""

    def _ratio(self, counts: Overlap) -> Tensor:
        return self._divide(2 * counts.intersection, counts.predicted + counts.truth)


class JaccardLoss(OverlapLoss):
    """1 - intersection over union of soft regions: Rahman, Wang, 2016."""

    def _ratio(self, counts: Overlap) -> Tensor:
        union = counts.predicted + counts.truth - counts.intersection
        return self._divide(counts.intersection, union)


class TverskyLoss(OverlapLoss):
    """Dice with separate weights for false positives and false negatives: Salehi, Erdogmus, Gholipour, 2017.

    Args:
        alpha: weight of false positives (0.5 and 0.5 is Dice).
        beta: weight of false negatives.
        smooth: as in :class:`DiceLoss`, like all further arguments.
    """

    def __init__(
        self,
        alpha: NonNegativeFloat = 0.3,
        beta: NonNegativeFloat = 0.7,
        smooth: NonNegativeFloat = 1.0,
        classes: Literal["present", "all"] = "present",
        per_image: bool = False,
        micro: bool = False,
        include_background: bool = True,
        weight: Sequence[float] | None = None,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__(smooth, classes, per_image, micro, include_background, weight, ignore_index)
        self.alpha, self.beta = alpha, beta

    def _ratio(self, counts: Overlap) -> Tensor:
        wrong = counts.predicted - counts.intersection
        missed = counts.truth - counts.intersection
        hit = counts.intersection
        return self._divide(hit, hit + self.alpha * wrong + self.beta * missed)
