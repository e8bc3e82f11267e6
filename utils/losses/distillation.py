"""Distillation: a training loss, and the divergence of the class probabilities from those of a teacher."""

from __future__ import annotations

import torch
from torch import Tensor

from utils.dataset_info import IGNORE_INDEX
from utils.losses.base import TINY
from utils.losses.training import Heads, ModelOutput, TrainingLoss

OUTSIDE = -1  # target of a pixel outside the image, which is void and not distilled


class Distillation(TrainingLoss):
    """``loss + weight * T^2 * mean KL(teacher || student)`` of probabilities ``softmax(logits / T)``.

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015; the factor T^2 keeps the
    gradients on one scale at all temperatures T. The mean is taken over the pixels of the images, void ones
    included, because the teacher needs no label; padding, which is :data:`OUTSIDE` in the target, counts nowhere.

    The logits of the teacher, (N, C, H, W) in the student's order of classes and without gradient, are the last
    of the tensors in ``output.extra``; the training loss of the student sees the others.

    Args:
        loss: the training loss of the student.
        weight: factor of the divergence.
        temperature: T.
    """

    def __init__(self, loss: TrainingLoss, weight: float, temperature: float) -> None:
        super().__init__()
        self.loss = loss
        self.weight, self.temperature = weight, temperature

    def normalizer(self, target: Tensor) -> Tensor:
        """Divisors of the student's training loss, and the number of pixels of the images (K + 1,)."""
        pixels = (target != OUTSIDE).sum().float()
        return torch.cat([self.loss.normalizer(_labels(target)).reshape(-1), pixels.reshape(1)])

    def _shares(self, output: ModelOutput, target: Tensor, normalizer: Tensor) -> dict[str, Tensor]:
        *extra, teacher = output.extra
        labels = _labels(target)
        divisors = normalizer[:-1].reshape(self.loss.normalizer(labels).shape)
        losses = self.loss(Heads(output.logits, output.aux, tuple(extra)), labels, divisors)
        total = self._divergence(output.logits, teacher).masked_fill(target == OUTSIDE, 0).sum()
        divergence = self.temperature**2 * total / normalizer[-1].clamp_min(TINY)
        loss = losses["loss"] + self.weight * divergence
        return {**losses, "loss": loss, "loss_labels": losses["loss"], "loss_distillation": divergence}

    def _divergence(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Divergence at each pixel (N, H, W) of logits (N, C, H, W)."""
        ours, theirs = ((logits / self.temperature).log_softmax(dim=1) for logits in (student, teacher))
        return (theirs.exp() * (theirs - ours)).sum(dim=1)


def _labels(target: Tensor) -> Tensor:
    """Return a target whose pixels outside the images are void."""
    return target.masked_fill(target == OUTSIDE, IGNORE_INDEX)
