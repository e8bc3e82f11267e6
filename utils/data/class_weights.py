"""Weights that balance the classes of a loss, computed from the training masks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from utils.data.class_histograms import Labels, dense, mask_histograms
from utils.dataset_info import IGNORE_INDEX, DatasetInfo

logger = logging.getLogger(__name__)

Mode = Literal["median", "inverse", "effective", "enet"]


@runtime_checkable
class HasDataset(Protocol):
    """A loader of such a data set."""

    @property
    def dataset(self) -> Labels: ...


class ClassCounts(NamedTuple):
    """Frequency of each class.

    Attributes:
        pixels: (C,) int64, pixels of each class.
        image_pixels: (C,) int64, all pixels, void included, of the images that hold the class.
        images: (C,) int64, images that hold the class.
        void: pixels without a class.
    """

    pixels: np.ndarray
    image_pixels: np.ndarray
    images: np.ndarray
    void: int


def compute_class_weights(mode: Mode, data: Labels | HasDataset, info: DatasetInfo) -> list[float]:
    """Compute one weight per class; their mean over the labelled pixels need not be 1.

    With f the share of a class among the labelled pixels:

    * ``median``: median frequency balancing, median(g) / g with g the share of the class in the images
      that hold it (Eigen and Fergus, "Predicting depth, surface normals and semantic labels", 2015).
    * ``inverse``: 1 / (C f), which gives each class the same total weight.
    * ``effective``: inverse of the effective number of samples with beta = 1 - 1/N, scaled to a mean of 1
      over the classes (Cui et al., "Class-balanced loss based on effective number of samples", 2019).
    * ``enet``: 1 / ln(1.02 + f), between 1.4 and 50.5 (Paszke et al., "ENet", 2016).

    A class that occurs in no mask has weight 1. The masks are counted once; the counts are cached until
    a file changes. The result is logged as a table.

    Args:
        mode: name of the formula.
        data: the training data set, or its loader.
        info: its classes.

    Raises:
        DataError: a mask cannot be read, or holds a value that is neither a class nor void.
    """
    dataset = data.dataset if isinstance(data, HasDataset) else data
    counts = count_classes(dataset, info.num_classes)
    weights = weights_from_counts(mode, counts)
    for line in weight_table(info.classes, counts, weights, mode):
        logger.info("%s", line)
    return weights


def weights_from_counts(mode: Mode, counts: ClassCounts) -> list[float]:
    """Compute the weights of :func:`compute_class_weights` from counts.

    Raises:
        ValueError: there is no formula of this name.
    """
    present = counts.pixels > 0
    weights = np.ones(len(present))
    total = counts.pixels.sum()
    if not total:
        return list(weights.tolist())
    share = counts.pixels[present] / total
    if mode == "median":
        frequency = counts.pixels[present] / counts.image_pixels[present]
        weights[present] = np.median(frequency) / frequency
    elif mode == "inverse":
        weights[present] = 1 / (present.sum() * share)
    elif mode == "effective":
        # (1 - beta^n) / (1 - beta) with beta = 1 - 1/N and n = N f, without cancellation
        effective = -np.expm1(counts.pixels[present] * np.log1p(-1 / max(total, 2)))
        weights[present] = (1 / effective) / np.mean(1 / effective)
    elif mode == "enet":
        weights[present] = 1 / np.log(1.02 + share)
    else:
        raise ValueError(f"class_weights: no formula '{mode}'")
    return list(weights.tolist())


def count_classes(dataset: Labels, num_classes: int) -> ClassCounts:
    """Count the pixels of every mask of a data set; the counts of each mask are cached.

    Raises:
        DataError: a mask cannot be read, or holds a value that is neither a class nor void.
    """
    return sum_histograms(dense(mask_histograms(dataset)), num_classes)


def sum_histograms(histograms: Iterable[np.ndarray], num_classes: int) -> ClassCounts:
    """Return the counts of images from their label histograms, (256,) each."""
    pixels, held, images = (np.zeros(num_classes, dtype=np.int64) for _ in range(3))
    void = 0
    for histogram in histograms:
        classes = histogram[:num_classes]
        pixels += classes
        held += (classes > 0) * histogram.sum()  # all pixels of the images that hold the class
        images += classes > 0
        void += int(histogram[IGNORE_INDEX])
    return ClassCounts(pixels, held, images, void)


def weight_table(
    classes: Sequence[str], counts: ClassCounts, weights: Sequence[float], mode: str
) -> list[str]:
    """Return the lines of a table: class, share of the labelled pixels, images, weight."""
    width = max(len(name) for name in classes)
    total = max(int(counts.pixels.sum()), 1)
    lines = [f"class weights ({mode}):"]
    for index, name in enumerate(classes):
        absent = "  (in no training mask)" if not counts.pixels[index] else ""
        share = counts.pixels[index] / total
        images = f"{counts.images[index]:6d} images"
        lines.append(f"  {name:<{width}}  {share:8.3%}  {images}  weight {weights[index]:.4g}{absent}")
    return lines
