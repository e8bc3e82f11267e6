"""Losses and metrics of an epoch so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from utils.evaluation.metrics import ConfusionMatrix, SegmentationMetrics
from utils.training.loss_meter import LossMeter


class RunningFigures:
    """Mean losses and the confusion matrix of the batches so far, kept on the device.

    Args:
        classes: class names in index order.
        device: device of losses, predictions and targets.
    """

    def __init__(self, classes: Sequence[str], device: torch.device | str = "cpu") -> None:
        self._classes = classes
        self._losses = LossMeter(device)
        self._confusion = ConfusionMatrix(len(classes), device)

    def add_losses(self, losses: Mapping[str, Tensor], scale: Tensor, weight: Tensor) -> None:
        """Add the losses of one batch; see :meth:`LossMeter.update`."""
        self._losses.update(losses, scale, weight)

    def add_prediction(self, prediction: Tensor, target: Tensor) -> None:
        """Count the pixels of one batch; see :meth:`ConfusionMatrix.update`."""
        self._confusion.update(prediction, target)

    def losses(self) -> dict[str, float]:
        """Return the mean of each loss."""
        return self._losses.compute()

    def metrics(self) -> SegmentationMetrics:
        """Return the metrics of all counted pixels."""
        return self._confusion.compute(self._classes)

    def compute(self) -> dict[str, Any]:
        """Return every figure of the epoch's log record: losses, metrics and tables per class."""
        return {**self.losses(), **self.metrics().to_figures()}

    def reset(self) -> None:
        """Forget every batch."""
        self._losses.reset()
        self._confusion.reset()

    def state_dict(self) -> dict[str, Any]:
        return {"confusion": self._confusion.state_dict(), "losses": self._losses.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._confusion.load_state_dict(state["confusion"])
        self._losses.load_state_dict(state["losses"])
