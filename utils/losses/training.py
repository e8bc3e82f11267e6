"""The loss of a training step: what a model returns in training, against the target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from utils.losses.base import BaseLoss


class ModelOutput(Protocol):
    """The parts of a :class:`~base.base_model.SegmentationOutput` in training mode."""

    @property
    def logits(self) -> Tensor: ...
    @property
    def aux(self) -> tuple[Tensor, ...]: ...
    @property
    def extra(self) -> tuple[Tensor, ...]: ...


class Heads(NamedTuple):
    """A :class:`ModelOutput` in full precision."""

    logits: Tensor
    aux: tuple[Tensor, ...]
    extra: tuple[Tensor, ...]


class TrainingLoss(nn.Module, ABC):
    """Base of the loss that a model is trained with: a function of everything it returns in training.

    It has no state that a run must save, and void pixels have no gradient. As with a
    :class:`~utils.losses.base.BaseLoss`, the loss of a step may be computed in parts (micro-batches): each part
    is divided by the ``normalizer`` of all parts together, and the results add up.
    """

    def forward(
        self, output: ModelOutput, target: Tensor, normalizer: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Compute the losses of one batch, or its shares of those of a step, outside autocast.

        Args:
            output: what the model returned in training mode; half precision is computed in fp32.
            target: (N, H, W) int64 class indices or void; not changed.
            normalizer: divisor of the step; this batch's own if ``None``.

        Returns:
            Scalars by name: ``loss``, which is minimised, and any of its parts, which are logged.
        """
        heads = Heads(_full(output.logits), *(tuple(map(_full, part)) for part in (output.aux, output.extra)))
        with torch.autocast(output.logits.device.type, enabled=False):
            return self._shares(heads, target, self.normalizer(target) if normalizer is None else normalizer)

    @abstractmethod
    def normalizer(self, target: Tensor) -> Tensor:
        """Contribution of a batch with this target (N, H, W) to the divisor of its step.

        Returns:
            A scalar, or a vector (K,) where the parts of the loss have different divisors; the mean loss of an
            epoch then weighs its steps by the first.
        """

    @abstractmethod
    def _shares(self, output: ModelOutput, target: Tensor, normalizer: Tensor) -> dict[str, Tensor]:
        """Compute :meth:`forward` for outputs of full precision, outside autocast."""


class DeepSupervision(TrainingLoss):
    """The loss of the config on the logits, and with a weight on those of every auxiliary head.

    Args:
        pixel: the loss of the config.
        aux_weight: ``trainer.aux_weight``.
    """

    def __init__(self, pixel: BaseLoss, aux_weight: float = 0.4) -> None:
        super().__init__()
        self.pixel = pixel
        self.aux_weight = aux_weight

    def normalizer(self, target: Tensor) -> Tensor:
        """Divisor of the loss of the config."""
        return self.pixel.normalizer(target)

    def _shares(self, output: ModelOutput, target: Tensor, normalizer: Tensor) -> dict[str, Tensor]:
        main: Tensor = self.pixel(output.logits, target, normalizer)
        if not output.aux:
            return {"loss": main}
        aux = torch.stack([self.pixel(logits, target, normalizer) for logits in output.aux]).sum()
        return {"loss": main + self.aux_weight * aux, "loss_main": main, "loss_aux": aux}


def _full(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
