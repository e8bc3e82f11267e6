"""Accumulates what an evaluation reports: exact integers per image, everything else computed from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from utils.dataset_info import DatasetInfo
from utils.evaluation.boundary import count_boundary
from utils.evaluation.metrics import SegmentationMetrics

_ROWS_PER_DRAW = 100  # resamples that are computed at once


@dataclass(frozen=True)
class ImageCounts:
    """Pixels of one image.

    Attributes:
        image_id: its name.
        matrix: (C, C) int64, rows true, columns predicted; void is not counted.
        boundary: (C, 2) int64, see :func:`utils.evaluation.boundary.count_boundary`; empty if not asked for.
    """

    image_id: str
    matrix: np.ndarray
    boundary: np.ndarray

    @property
    def mean_iou(self) -> float:
        """Mean over the classes in the image or its prediction; NaN where nothing is labelled."""
        true, truth, predicted = split_matrix(self.matrix)
        union = truth + predicted - true
        present = union > 0
        return float((true[present] / union[present]).mean()) if present.any() else float("nan")

    @property
    def pixel_accuracy(self) -> float:
        total = self.matrix.sum()
        return float(np.trace(self.matrix) / total) if total else float("nan")

    @property
    def dice(self) -> np.ndarray:
        """(C,) Dice of each class; 1 where a class is neither in the image nor predicted."""
        true, truth, predicted = split_matrix(self.matrix)
        both = truth + predicted
        return np.where(both > 0, 2 * true / np.maximum(both, 1), 1.0)


def split_matrix(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a confusion matrix: pixels predicted right, true pixels and predicted pixels of each class."""
    return np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)


def count_image(
    image_id: str, prediction: np.ndarray, target: np.ndarray, num_classes: int, *, boundaries: bool = True
) -> ImageCounts:
    """Compare one image with its labels, at the labels' resolution.

    Args:
        image_id: name.
        prediction: (H, W) uint8 class indices below ``num_classes``.
        target: (H, W) uint8; values from ``num_classes`` on are void.
        num_classes: C.
        boundaries: also compare outlines.

    Raises:
        ValueError: the sizes differ, or a prediction is not a class.
    """
    if prediction.shape != target.shape:
        raise ValueError(f"{image_id}: the prediction is {prediction.shape}, the label {target.shape}")
    valid = target < num_classes
    found = prediction[valid].astype(np.int64)
    if found.size and found.max() >= num_classes:
        raise ValueError(f"{image_id}: predicted {found.max()}; the classes are 0 to {num_classes - 1}")
    cells = target[valid].astype(np.int64) * num_classes + found
    matrix = np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)
    rims = count_boundary(prediction, target, num_classes) if boundaries else np.zeros((0, 2), np.int64)
    return ImageCounts(image_id, matrix, rims)


class Evaluation:
    """The images of a split, compared.

    Args:
        info: the classes.
    """

    def __init__(self, info: DatasetInfo) -> None:
        self.info = info
        self.images: list[ImageRow] = []
        self.matrix = np.zeros((info.num_classes, info.num_classes), dtype=np.int64)
        self._boundary = np.zeros((info.num_classes, 2), dtype=np.int64)
        self._dice = np.zeros(info.num_classes)
        self._with_boundaries = False

    def add(self, counts: ImageCounts) -> None:
        """Add one image."""
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
        """The metrics of all pixels together."""
        return SegmentationMetrics.from_matrix(self.matrix, self.info.classes)

    def boundary_iou(self) -> np.ndarray | None:
        """(C,) boundary IoU over all images, NaN for classes not seen; ``None`` if not compared."""
        if not self._with_boundaries:
            return None
        with np.errstate(invalid="ignore"):
            return self._boundary[:, 0] / self._boundary[:, 1]

    def mean_dice(self) -> np.ndarray:
        """(C,) mean over the images of each class's Dice, as Carvana and TianChi rank it."""
        return np.mean([row.dice for row in self.images], axis=0)

    def interval(self, resamples: int = 1000, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
        """Percentile bootstrap interval of mIoU over images (Efron, "Bootstrap Methods", 1979).

        Args:
            resamples: how often the images are drawn anew, with replacement.
            level: share of the resamples within the interval.
            seed: of the draws.

        Returns:
            Lower and upper end; how much mIoU would vary with other images of the same kind. It says
            nothing about another training run.
        """
        counts = np.stack([row.counts.ravel() for row in self.images]).astype(np.float64)
        draw = np.random.default_rng(seed)
        number, values = len(self.images), []
        for at in range(0, resamples, _ROWS_PER_DRAW):
            size = min(_ROWS_PER_DRAW, resamples - at)
            weights = draw.multinomial(number, np.full(number, 1 / number), size=size)
            true, truth, predicted = np.moveaxis((weights @ counts).reshape(size, 3, -1), 1, 0)
            union = truth + predicted - true
            seen = union > 0
            iou = np.divide(true, union, out=np.zeros_like(true), where=seen)
            values.append(iou.sum(1) / np.maximum(seen.sum(1), 1))
        edge = (1 - level) / 2
        low, high = np.quantile(np.concatenate(values), [edge, 1 - edge])
        return float(low), float(high)

    def figures(self) -> dict[str, Any]:
        """Everything as plain values for JSON; what does not exist is ``None``."""
        metrics, edges = self.metrics(), self.boundary_iou()
        names = self.info.classes
        figures = metrics.to_figures()
        figures["Classes_Counted"] = int((~np.isnan(metrics.iou)).sum())
        figures["Mean_IoU_95"] = list(self.interval())
        figures["Mean_Image_Dice"] = dict(zip(names, self.mean_dice().tolist(), strict=True))
        figures["Class_Pixels"] = dict(zip(names, self.matrix.sum(axis=1).tolist(), strict=True))
        if edges is not None:
            figures["Boundary_IoU"] = {n: _plain(v) for n, v in zip(names, edges, strict=True)}
            figures["Mean_Boundary_IoU"] = _plain(np.nanmean(edges)) if not np.isnan(edges).all() else None
        for name in metrics.scalars():
            figures[name] = _plain(figures[name])
        return figures


@dataclass(frozen=True)
class ImageRow:
    """What is kept of an image.

    Attributes:
        image_id: its name.
        mean_iou: over the classes in it or its prediction; NaN where nothing is labelled.
        pixel_accuracy: share of valid pixels predicted right; NaN where nothing is labelled.
        dice: (C,).
        counts: (3, C) int64: pixels predicted right, true pixels, predicted pixels.
    """

    image_id: str
    mean_iou: float
    pixel_accuracy: float
    dice: np.ndarray
    counts: np.ndarray


def _plain(value: float) -> float | None:
    return None if value is None or np.isnan(value) else float(value)
