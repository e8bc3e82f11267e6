"""The training loss of PIDNet: Xu, Xiong, Bhattacharyya, "PIDNet: A Real-time Semantic Segmentation Network
Inspired by PID Controllers", 2023."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from base.base_model import ALIGN_CORNERS
from utils.losses.base import BaseLoss
from utils.losses.training import DeepSupervision, ModelOutput

_REACH = 2  # pixels on either side of a border between classes; the authors dilate an edge by a 4x4 kernel
_SURE = 0.8  # probability of a boundary above which a pixel counts once more
_STRIDE = 8  # of the boundary head


class BoundaryGuidedLoss(DeepSupervision):
    """The loss of the config on all heads, a boundary loss, and the loss of the config near found boundaries.

    A pixel is boundary if a pixel of another class lies within 2 pixels; void is neither boundary nor a class.
    The boundary head's binary cross-entropy weighs both kinds by the share of the other. The last part, on
    pixels whose boundary probability is above 0.8, depends on the prediction, so parts of a step are averaged
    by their numbers of valid pixels, as in :class:`~utils.losses.OhemCrossEntropy`.

    Args:
        pixel: the loss of the config.
        aux_weight: factor of the auxiliary head's loss.
        boundary_weight: factor of the boundary head's loss.
    """

    def __init__(self, pixel: BaseLoss, aux_weight: float, boundary_weight: float = 20.0) -> None:
        super().__init__(pixel, aux_weight)
        self.boundary_weight = boundary_weight

    def normalizer(self, target: Tensor) -> Tensor:
        """Divisor of the loss of the config, and the numbers of boundary and of other valid pixels."""
        boundary, valid = boundary_of(target, self.pixel.ignore_index)
        counts = boundary.sum(), (valid & ~boundary).sum()
        return torch.stack([super().normalizer(target), *(count.float() for count in counts)])

    def _shares(self, output: ModelOutput, target: Tensor, normalizer: Tensor) -> dict[str, Tensor]:
        losses = super()._shares(output, target, normalizer[0])
        head = _at_image(output.extra[0], target)
        boundary = self.boundary_weight * self._boundary_share(head, target, normalizer[1:])
        near = target.where(head.detach() > _logit(_SURE), self.pixel.ignore_index)
        share = super().normalizer(target) / normalizer[0].clamp_min(torch.finfo(torch.float32).tiny)
        guided = self.pixel(output.logits, near) * share
        total = losses["loss"] + boundary + guided
        return {**losses, "loss": total, "loss_boundary": boundary, "loss_near_boundary": guided}

    def _boundary_share(self, head: Tensor, target: Tensor, counts: Tensor) -> Tensor:
        """Mean balanced cross-entropy of the step's valid pixels, the share of this batch."""
        boundary, valid = boundary_of(target, self.pixel.ignore_index)
        entropy = F.binary_cross_entropy_with_logits(head, boundary.float(), reduction="none")
        total = counts.sum().clamp_min(1)
        weight = torch.where(boundary, counts[1], counts[0]) / total * valid  # the share of the other kind
        return (entropy * weight).sum() / total


def boundary_of(target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Find the boundaries between classes.

    Args:
        target: (N, H, W) int64 class indices or void.
        ignore_index: class index of void pixels.

    Returns:
        Masks (N, H, W) of the boundary pixels and of the valid pixels.
    """
    valid = target != ignore_index
    own = target.float()[:, None]
    side = 2 * _REACH + 1
    highest = F.max_pool2d(own.masked_fill(~valid[:, None], -torch.inf), side, 1, _REACH)
    lowest = -F.max_pool2d((-own).masked_fill(~valid[:, None], -torch.inf), side, 1, _REACH)
    other = ((highest != own) | (lowest != own))[:, 0]
    return other & valid, valid


def _at_image(head: Tensor, target: Tensor) -> Tensor:
    """Resize (N, 1, h, w) of the padded images to them, and crop to the (N, H, W) of the target."""
    size = [side * _STRIDE for side in head.shape[-2:]]
    resized = F.interpolate(head, size=size, mode="bilinear", align_corners=ALIGN_CORNERS)
    return resized[:, 0, : target.shape[-2], : target.shape[-1]]


def _logit(probability: float) -> float:
    return float(torch.logit(torch.tensor(probability)))
