"""Evaluation of a split: exact pixel counts per image, and every figure computed from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from utils.dataset_info import DatasetInfo
from utils.evaluation.boundary import count_boundary
from utils.evaluation.metrics import SegmentationMetrics, number_or_none

_RESAMPLES_PER_DRAW = 100  # computed at once


@dataclass(frozen=True)
class ImageCounts:
    """Pixel counts of one image.

    Attributes:
        image_id: name of the image.
        matrix: (C, C) int64, rows true, columns predicted; void is not counted.
        boundary: (C, 2) int64 of :func:`utils.evaluation.boundary.count_boundary`; (0, 2) without boundaries.
    """

    image_id: str
    matrix: np.ndarray
    boundary: np.ndarray

    @property
    def mean_iou(self) -> float:
        """Mean over the classes in the target or the prediction, 0..1; NaN if every pixel is void."""
        true, truth, predicted = split_matrix(self.matrix)
        union = truth + predicted - true
        present = union > 0
        return float((true[present] / union[present]).mean()) if present.any() else float("nan")

    @property
    def pixel_accuracy(self) -> float:
        """Share of valid pixels predicted right, 0..1; NaN if every pixel is void."""
        total = self.matrix.sum()
        return float(np.trace(self.matrix) / total) if total else float("nan")

    @property
    def dice(self) -> np.ndarray:
        """(C,) Dice of each class, 0..1; 1 where a class is neither in the target nor predicted."""
        true, truth, predicted = split_matrix(self.matrix)
        both = truth + predicted
        dice: np.ndarray = np.where(both > 0, 2 * true / np.maximum(both, 1), 1.0)
        return dice


def split_matrix(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return three (C,) counts of a (C, C) confusion matrix: pixels predicted right, true, and predicted."""
    return np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)


def count_image(
    image_id: str, prediction: np.ndarray, target: np.ndarray, num_classes: int, *, boundaries: bool = True
) -> ImageCounts:
    """Compare a prediction with its target, at the resolution of the target.

    Args:
        image_id: name of the image.
        prediction: (H, W) uint8 class indices below ``num_classes``.
        target: (H, W) uint8; values from ``num_classes`` on are void.
        num_classes: C.
        boundaries: count boundary pixels too.

    Raises:
        ValueError: the sizes differ, or the prediction holds a value that is not a class index.
    """
    if prediction.shape != target.shape:
        raise ValueError(f"{image_id}: the prediction is {prediction.shape}, the target {target.shape}")
    valid = target < num_classes
    predicted = prediction[valid].astype(np.int64)
    if predicted.size and predicted.max() >= num_classes:
        raise ValueError(f"{image_id}: predicted {predicted.max()}; the classes are 0 to {num_classes - 1}")
    cells = target[valid].astype(np.int64) * num_classes + predicted
    matrix = np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)
    boundary_counts = np.zeros((0, 2), np.int64)
    if boundaries:
        boundary_counts = count_boundary(prediction, target, num_classes)
    return ImageCounts(image_id, matrix, boundary_counts)


class Evaluation:
    """Accumulates the counts of the images of a split.

    Attributes:
        images: one row per image, in the order of :meth:`add`.
        matrix: (C, C) int64 over all images, rows true, columns predicted.

    Args:
        info: the classes.
    """

    def __init__(self, info: DatasetInfo) -> None:
        self.info = info
        self.images: list[ImageRow] = []
        self.matrix = np.zeros((info.num_classes, info.num_classes), dtype=np.int64)
        self._boundary = np.zeros((info.num_classes, 2), dtype=np.int64)
        self._with_boundaries = False

    def add(self, counts: ImageCounts) -> None:
        """Add the counts of one image."""
        true, truth, predicted = split_matrix(counts.matrix)
        row = ImageRow(
            counts.image_id,
            counts.mean_iou,
            counts.pixel_accuracy,
            counts.dice,
            np.stack([true, truth, predicted]),
        )
        self.images.append(row)
        self.matrix += counts.matrix
        if len(counts.boundary):
            self._with_boundaries = True
            self._boundary += counts.boundary

    def metrics(self) -> SegmentationMetrics:
        """Return the metrics over the pixels of all images together."""
        return SegmentationMetrics.from_matrix(self.matrix, self.info.classes)

    def boundary_iou(self) -> np.ndarray | None:
        """Return (C,) boundary IoU over all images, NaN for absent classes; ``None`` if not counted."""
        if not self._with_boundaries:
            return None
        with np.errstate(invalid="ignore"):
            iou: np.ndarray = self._boundary[:, 0] / self._boundary[:, 1]
        return iou

    def mean_dice(self) -> np.ndarray:
        """Return (C,) mean over the images of each class's Dice, the ranking figure of Carvana and TianChi."""
        mean: np.ndarray = np.mean([row.dice for row in self.images], axis=0)
        return mean

    def interval(self, resamples: int = 1000, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
        """Compute the percentile bootstrap interval of mIoU over images (Efron, "Bootstrap Methods", 1979).

        It estimates how much mIoU would vary with other images of the same kind. It says nothing about
        another training run.

        Args:
            resamples: number of draws of as many images, with replacement.
            level: share of the resamples within the interval, 0..1.
            seed: seed of the draws.

        Returns:
            Lower and upper end.
        """
        counts = np.stack([row.counts.ravel() for row in self.images]).astype(np.float64)
        draw = np.random.default_rng(seed)
        number, values = len(self.images), []
        for at in range(0, resamples, _RESAMPLES_PER_DRAW):
            size = min(_RESAMPLES_PER_DRAW, resamples - at)
            weights = draw.multinomial(number, np.full(number, 1 / number), size=size)
            true, truth, predicted = np.moveaxis((weights @ counts).reshape(size, 3, -1), 1, 0)
            union = truth + predicted - true
            seen = union > 0
            iou = np.divide(true, union, out=np.zeros_like(true), where=seen)
            values.append(iou.sum(1) / np.maximum(seen.sum(1), 1))
        tail = (1 - level) / 2
        low, high = np.quantile(np.concatenate(values), [tail, 1 - tail])
        return float(low), float(high)

    def figures(self) -> dict[str, Any]:
        """Return every figure as plain values for JSON; undefined figures are ``None``."""
        metrics, boundary_iou = self.metrics(), self.boundary_iou()
        names = self.info.classes
        figures = metrics.to_figures()
        figures["Classes_Counted"] = int((~np.isnan(metrics.iou)).sum())
        figures["Mean_IoU_95"] = list(self.interval())
        figures["Mean_Image_Dice"] = dict(zip(names, self.mean_dice().tolist(), strict=True))
        figures["Class_Pixels"] = dict(zip(names, self.matrix.sum(axis=1).tolist(), strict=True))
        if boundary_iou is not None:
            figures["Boundary_IoU"] = {n: number_or_none(v) for n, v in zip(names, boundary_iou, strict=True)}
            absent = bool(np.isnan(boundary_iou).all())
            figures["Mean_Boundary_IoU"] = None if absent else float(np.nanmean(boundary_iou))
        for name, value in metrics.scalars().items():
            figures[name] = number_or_none(value)
        return figures


@dataclass(frozen=True)
class ImageRow:
    """Figures of one image, as the report lists them.

    Attributes:
        image_id: name of the image.
        mean_iou: see :attr:`ImageCounts.mean_iou`.
        pixel_accuracy: see :attr:`ImageCounts.pixel_accuracy`.
        dice: (C,), see :attr:`ImageCounts.dice`.
        counts: (3, C) int64: pixels predicted right, true pixels, predicted pixels.
    """

    image_id: str
    mean_iou: float
    pixel_accuracy: float
    dice: np.ndarray
    counts: np.ndarray
