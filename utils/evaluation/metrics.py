"""Segmentation metrics from one exact confusion matrix over all images of a data set.

Definitions follow Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation",
2015 (pixel accuracy, mean accuracy, mean IoU, frequency-weighted IoU) and Dice, "Measures of the
Amount of Ecologic Association Between Species", 1945 (F1 of pixels is the Dice coefficient).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


class ConfusionMatrix:
    """Counts (true class, predicted class) pairs in int64, on the device, without waiting for it.

    Args:
        num_classes: number of classes C.
        device: device of the predictions and targets.
    """

    def __init__(self, num_classes: int, device: torch.device | str = "cpu") -> None:
        self.num_classes = num_classes
        # one more row and column: void targets are counted there and dropped at the end
        side = num_classes + 1
        self._counts = torch.zeros(side * side, dtype=torch.int64, device=device)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add the pixels of a batch.

        Args:
            prediction: (N, H, W) predicted class indices 0..C-1, or (N, C, H, W) logits.
            target: (N, H, W) integer class indices 0..C-1; any other value is void and not counted.
        """
        if prediction.ndim == target.ndim + 1:
            prediction = prediction.detach().max(dim=1).indices  # on CPUs several times faster than argmax
        side = self.num_classes + 1
        void = (target < 0) | (target >= self.num_classes)
        rows = target.long().masked_fill(void, self.num_classes)
        cells = (rows * side + prediction).flatten()
        if cells.is_cuda:  # bincount would make the host wait for the largest value
            self._counts.scatter_add_(0, cells, torch.ones_like(cells))
        else:
            self._counts += torch.bincount(cells, minlength=side * side)

    def reset(self) -> None:
        """Set all counts to 0."""
        self._counts.zero_()

    @property
    def matrix(self) -> Tensor:
        """(C, C) int64 on the CPU: rows are true classes, columns predicted ones."""
        side = self.num_classes + 1
        return self._counts.view(side, side)[: self.num_classes, : self.num_classes].cpu()

    def compute(self, classes: Sequence[str]) -> SegmentationMetrics:
        """Return the metrics of everything counted so far."""
        return SegmentationMetrics.from_matrix(self.matrix.numpy(), classes)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the counts, on the CPU, for a checkpoint."""
        return {"counts": self._counts.cpu()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Replace the counts by those of :meth:`state_dict`."""
        self._counts.copy_(state["counts"])


@dataclass(frozen=True)
class SegmentationMetrics:
    """Metrics of a confusion matrix, in 0..1, at full precision.

    A class that occurs neither in the target nor in the prediction has no IoU (NaN) and does not
    count in a mean; :attr:`summary` says how many classes do.

    Attributes:
        matrix: (C, C) int64, rows true, columns predicted.
        classes: C names.
        iou: (C,) TP / (TP + FP + FN).
        accuracy: (C,) recall, TP / (TP + FN).
        precision: (C,) TP / (TP + FP).
        f1: (C,) Dice, 2 TP / (2 TP + FP + FN).
        pixel_accuracy: share of valid pixels predicted right.
        fw_iou: IoU weighted by the frequency of the true class.
    """

    matrix: np.ndarray
    classes: tuple[str, ...]
    iou: np.ndarray
    accuracy: np.ndarray
    precision: np.ndarray
    f1: np.ndarray
    pixel_accuracy: float
    fw_iou: float

    @classmethod
    def from_matrix(cls, matrix: np.ndarray, classes: Sequence[str]) -> SegmentationMetrics:
        """Compute the metrics of a (C, C) integer matrix (rows true, columns predicted)."""
        true_positive = np.diag(matrix).astype(np.float64)
        truth, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
        total = matrix.sum()
        union = truth + predicted - np.diag(matrix)
        with np.errstate(invalid="ignore", divide="ignore"):
            iou = true_positive / union
            accuracy = true_positive / truth
            precision = true_positive / predicted
            f1 = 2 * true_positive / (truth + predicted)
            pixel_accuracy = float(true_positive.sum() / np.float64(total))
            present = truth > 0
            fw_iou = float((truth[present] * iou[present]).sum() / np.float64(total))
        return cls(matrix, tuple(classes), iou, accuracy, precision, f1, pixel_accuracy, fw_iou)

    @property
    def mean_iou(self) -> float:
        """Mean over the classes that have an IoU; NaN if none has."""
        return _mean(self.iou)

    @property
    def mean_accuracy(self) -> float:
        """Mean over the classes that occur in the target; NaN if none does."""
        return _mean(self.accuracy)

    @property
    def mean_f1(self) -> float:
        """Mean over the classes that have an F1; NaN if none has."""
        return _mean(self.f1)

    @property
    def summary(self) -> str:
        """One line: ``mIoU 0.531 (mean over 3 of 4 classes; not seen: boat)`` and the other means."""
        absent = [name for name, value in zip(self.classes, self.iou, strict=True) if np.isnan(value)]
        counted = len(self.classes) - len(absent)
        unseen = f"; not seen: {', '.join(absent[:5])}{', ...' if len(absent) > 5 else ''}" if absent else ""
        return (
            f"mIoU {self.mean_iou:.4f} (mean over {counted} of {len(self.classes)} classes{unseen}), "
            f"pixel accuracy {self.pixel_accuracy:.4f}, mean accuracy {self.mean_accuracy:.4f}, "
            f"FWIoU {self.fw_iou:.4f}, mean Dice {self.mean_f1:.4f}"
        )

    def scalars(self) -> dict[str, float]:
        """Return the means over all classes under the names that a monitor may use; F1 and Dice are one figure."""
        return {
            "Pixel_Accuracy": self.pixel_accuracy,
            "Mean_Accuracy": self.mean_accuracy,
            "Mean_IoU": self.mean_iou,
            "FW_IoU": self.fw_iou,
            "Mean_F1": self.mean_f1,
            "Mean_Dice": self.mean_f1,
        }

    def to_figures(self) -> dict[str, Any]:
        """Return :meth:`scalars`, and per-class tables in which an undefined figure is ``None``."""
        per_class = {
            "Class_IoU": self.iou,
            "Class_Accuracy": self.accuracy,
            "Class_Precision": self.precision,
            "Class_F1": self.f1,
            "Class_Dice": self.f1,
        }
        figures: dict[str, Any] = dict(self.scalars())
        for name, values in per_class.items():
            figures[name] = {c: number_or_none(v) for c, v in zip(self.classes, values, strict=True)}
        return figures


METRIC_NAMES = ("Pixel_Accuracy", "Mean_Accuracy", "Mean_IoU", "FW_IoU", "Mean_F1", "Mean_Dice")


def _mean(values: np.ndarray) -> float:
    finite = values[~np.isnan(values)]
    return float(finite.mean()) if finite.size else float("nan")


def number_or_none(value: float) -> float | None:
    """Return a plain float, or ``None`` for NaN, which strict JSON cannot hold."""
    return None if np.isnan(value) else float(value)
