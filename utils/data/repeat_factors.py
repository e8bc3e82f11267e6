"""Images of rare classes more often: repeat factors, and the samples of an epoch that follow from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def class_factors(holders: Sequence[int], images: int, threshold: float | None) -> np.ndarray:
    """Return the repeat factor of each class, ``max(1, sqrt(t / f))``; 1 where no image holds it.

    Gupta, Dollar and Girshick, "LVIS: A dataset for large vocabulary instance segmentation", 2019, section 3.

    Args:
        holders: number of images that hold each class, f times ``images``.
        images: number of images.
        threshold: t, the share of images below which a class is repeated; ``None`` is the median share of the
            classes that occur.

    Returns:
        (C,) float64, at least 1.
    """
    share = np.asarray(holders) / images
    present = share > 0
    factors = np.ones(len(share))
    if present.any():
        bound = float(np.median(share[present])) if threshold is None else threshold
        factors[present] = np.maximum(1, np.sqrt(bound / share[present]))
    return factors


def factors_of_images(images_of: Sequence[np.ndarray], by_class: Sequence[float], images: int) -> np.ndarray:
    """Return the repeat factor of each image, the largest of its classes'; (N,) float64, at least 1.

    Args:
        images_of: for each class the indices of the images that hold it.
        by_class: repeat factor of each class.
        images: number of images.
    """
    factors = np.ones(images)
    for indices, factor in zip(images_of, by_class, strict=True):
        factors[indices] = np.maximum(factors[indices], factor)
    return factors


def epoch_length(factors: np.ndarray) -> int:
    """Return the number of samples of every epoch: the sum of the factors, rounded up."""
    return int(np.ceil(factors.sum() - 1e-6))


def drawn_samples(factors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw how often each image occurs in an epoch, by systematic sampling.

    An image with the factor r occurs r times on average, rounded up or down at random; the surplus of the rounded
    :func:`epoch_length` is shared in proportion.

    Args:
        factors: (N,) at least 1.
        rng: source of the draws.

    Returns:
        (:func:`epoch_length`,) int64, sorted: copy k of image i is ``i + k * N``, the index of pass k over the
        images, so that each copy has random draws of its own.
    """
    images, length = len(factors), epoch_length(factors)
    order = rng.permutation(images)
    ends = np.cumsum(factors[order]) * (length / factors.sum())
    ends[-1] = length
    marks = np.floor(ends + rng.random())
    counts = np.empty(images, np.int64)
    counts[order] = np.diff(marks, prepend=0.0)
    samples = np.repeat(np.arange(images), counts)
    copy = np.arange(length) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(samples + copy * images)
