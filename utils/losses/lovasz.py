"""Lovász-softmax: Berman, Triki, Blaschko, "The Lovász-Softmax Loss", 2018."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from utils.dataset_info import IGNORE_INDEX
from utils.losses.base import RegionLoss, as_weight, rows

MOST_BINS, LEAST_BINS = 16384, 4096
_TABLE = 2**19  # entries over all classes; more bins would be more exact, but not fit in the cache


class LovaszSoftmax(RegionLoss):
    """The convex extension of the Jaccard loss, averaged over classes.

    The definition sorts the errors of every class, but needs only the numbers of foreground and background
    pixels with a larger error. A histogram of the errors has these counts: ``exact=False`` uses one, which is
    many times faster. Pixels within one of 16384 bins of error (8192 from 33 classes on, 4096 from 65) share one
    gradient, which changes loss and gradient by less than the rounding of a float32 sort.

    Args:
        classes: ``present`` averages the classes that the target has, ``all`` every class.
        per_image: average the losses of the images instead of sorting over the batch.
        exact: sort the errors, as the paper does.
        weight: one weight per class in the average.
        ignore_index: class index of void pixels.

    Raises:
        ValueError: a weight is negative or not finite, or none is above 0.
    """

    weight: Tensor | None

    def __init__(
        self,
        classes: Literal["present", "all"] = "present",
        per_image: bool = False,
        exact: bool = False,
        weight: Sequence[float] | None = None,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__(ignore_index)
        self.classes, self.per_image, self.exact = classes, per_image, exact
        self.register_buffer("weight", as_weight(weight))

    def _value(self, logits: Tensor, target: Tensor) -> Tensor:
        valid = self._valid(target)
        if not self.per_image:
            return self._of(logits, target, valid)
        seen = valid.flatten(1).any(dim=1)
        losses = [
            self._of(logits[i : i + 1], target[i : i + 1], valid[i : i + 1]) for i in range(len(logits))
        ]
        return torch.stack(losses).sum() / seen.sum().clamp_min(1)

    def _of(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        flat, labels = rows(logits, target)
        valid = valid.flatten(1)
        labels = labels.masked_fill(~valid, 0)
        sizes = torch.bincount(labels.flatten() + (~valid).flatten() * flat.shape[1], minlength=flat.shape[1])
        share = self._shares(sizes[: flat.shape[1]].to(flat.dtype))
        if self.exact:
            return _sorted(flat.softmax(dim=1), labels, valid, share)
        loss: Tensor = _HistogramLovasz.apply(flat, labels, valid, share)
        return loss

    def _shares(self, sizes: Tensor) -> Tensor:
        """Factor of each class in the average, (C,)."""
        weight = torch.ones_like(sizes) if self.weight is None else self.weight.to(sizes.dtype)
        if self.classes == "present":
            weight = weight * (sizes > 0)
        return weight / weight.sum().clamp_min(torch.finfo(weight.dtype).tiny) * (sizes.sum() > 0)


class _HistogramLovasz(torch.autograd.Function):
    """The loss from histograms of the errors; the forward pass computes the gradient too and keeps it."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, valid: Tensor, share: Tensor) -> Tensor:
        """Map logits (N, C, P), labels (N, P), valid (N, P) and share (C,) to a scalar."""
        classes = logits.shape[1]
        bins = _bins(classes)
        probability = logits.softmax(dim=1)
        probability.mul_(valid[:, None])  # void: error 0, and no gradient through the softmax
        true = probability.gather(1, labels[:, None])[:, 0]
        offset = torch.arange(classes, dtype=torch.int32, device=logits.device) * bins
        place = _bin(probability, bins).add_(offset[:, None])  # N, C, P
        own = (labels * bins).to(torch.int32)
        # background: every pixel of every class, less those of the class itself (foreground) and void
        everything = torch.bincount(place.flatten(), minlength=classes * bins).view(classes, bins)
        background = everything - _count(own + _bin(true, bins), valid, classes, bins)
        background[:, 0] -= (~valid).sum()
        place_true = own + _bin(1 - true, bins)
        foreground = _count(place_true, valid, classes, bins)
        step_fore, step_back = _steps(foreground, background, share)
        # index_select, which is ten times as fast as indexing on a CPU
        slope = step_back.flatten().index_select(0, place.flatten()).view(place.shape)  # d loss / d error
        slope_true = step_fore.flatten().index_select(0, place_true.flatten()).view(valid.shape) * valid
        slope.scatter_(1, labels[:, None], -slope_true[:, None])  # foreground: error is 1 - p
        pull = slope.mul_(probability).sum(dim=1)  # N, P
        loss = pull.sum() + slope_true.sum()  # slope * error; (1 - p) * s is s - p * s
        ctx.save_for_backward(slope.sub_(probability.mul_(pull[:, None])))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (grad,) = ctx.saved_tensors
        return grad * gradient, None, None, None


def _bins(classes: int) -> int:
    """Number of bins per class: a power of two, fewer for many classes, at least 4096."""
    bins = MOST_BINS
    while bins > LEAST_BINS and classes * bins > _TABLE:
        bins //= 2
    return bins


def _count(place: Tensor, valid: Tensor, classes: int, bins: int) -> Tensor:
    """Histogram of the valid places, (classes, bins)."""
    trash = classes * bins  # bin of void pixels: boolean indexing would make the host wait
    found = torch.bincount(torch.where(valid, place, trash).flatten(), minlength=trash + 1)
    return found[:trash].view(classes, bins)


def _bin(error: Tensor, bins: int) -> Tensor:
    """Number of the bin, 0..bins - 1, that each error of 0..1 falls into."""
    return (error * bins).to(torch.int32).clamp_(max=bins - 1)


def _steps(foreground: Tensor, background: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Growth of the Jaccard loss per pixel of each bin, from the largest error down.

    With G foreground pixels in all, f and b pixels in the bin and F and B in the bins above, the loss grows
    from 1 - (G - F) / (G + B) to 1 - (G - F - f) / (G + B + b). The pixels share this growth symmetrically, as
    if both kinds were evenly mixed; the shares add up to exactly that growth.

    Args:
        foreground: (C, bins) counts.
        background: (C, bins) counts.
        share: (C,) factor of each class.

    Returns:
        The growth per foreground and per background pixel, both (C, bins).
    """
    fore, back = foreground.double(), background.double()
    total = fore.sum(dim=1, keepdim=True)
    above_fore = total - fore.cumsum(dim=1)
    above_back = back.sum(dim=1, keepdim=True) - back.cumsum(dim=1)
    before = (total + above_back).clamp_min(
        1
    )  # for a class without pixels the first background pixel costs 1
    after = (total + above_back + back).clamp_min(1)
    step_fore = (1 / before + 1 / after) / 2
    step_back = (total - above_fore - fore / 2) / (before * after)
    # the loss of an absent class jumps from 0 to 1 with the largest error
    first = (above_back == 0) & (back > 0) & (total == 0)
    step_back = torch.where(first, 1 / back.clamp_min(1), step_back)
    scale = share[:, None].double()
    return (step_fore * scale).to(share.dtype), (step_back * scale).to(share.dtype)


def _sorted(probability: Tensor, labels: Tensor, valid: Tensor, share: Tensor) -> Tensor:
    """Compute the loss by its definition, class by class, over the valid pixels."""
    classes = probability.shape[1]
    columns = probability.transpose(0, 1).flatten(1)[:, valid.flatten()]  # C, P
    labels = labels.flatten()[valid.flatten()]
    if not labels.numel():
        return (probability * 0).sum()
    losses = []
    for c in range(classes):
        fore = (labels == c).to(probability.dtype)
        error, order = (fore - columns[c]).abs().sort(descending=True)
        losses.append(torch.dot(error, lovasz_gradient(fore[order])))
    return (torch.stack(losses) * share).sum()


def lovasz_gradient(foreground: Tensor) -> Tensor:
    """Growth of the Jaccard loss with every pixel in turn (Algorithm 1 of the paper).

    Args:
        foreground: (P,) 1 for foreground, 0 for background, in the order of falling errors.

    Returns:
        (P,) growth per pixel.
    """
    total = foreground.sum()
    intersection = total - foreground.cumsum(0)
    union = total + (1 - foreground).cumsum(0)
    jaccard = 1 - intersection / union
    return torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])
