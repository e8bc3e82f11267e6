"""The repeat factors of a data set's images, as its masks give them."""

from __future__ import annotations

import logging

import numpy as np

from base.base_dataset import BaseDataSet
from utils.data.class_histograms import images_of_classes, mask_histograms
from utils.data.pairing import name_some
from utils.data.repeat_factors import class_factors, epoch_length, factors_of_images

logger = logging.getLogger(__name__)

_NAMED = 10  # classes that a message lists


def image_factors(dataset: BaseDataSet, threshold: float | None) -> np.ndarray:
    """Count the masks and return the repeat factor of each image; log those of the classes.

    Args:
        dataset: the training data.
        threshold: as for :func:`~utils.data.repeat_factors.class_factors`.

    Returns:
        (N,) float64, at least 1.

    Raises:
        ValueError: there are no masks, or all their pixels are void.
        DataError: a mask cannot be counted.
    """
    if dataset.has_no_masks:
        raise ValueError(f"sampler: the split '{dataset.split}' has no masks to count")
    names = dataset.info.classes
    images = images_of_classes(mask_histograms(dataset), len(names))
    holders = [len(indices) for indices in images]
    if not any(holders):
        raise ValueError(f"sampler: all pixels of the masks of '{dataset.split}' are void")
    absent = [name for name, count in zip(names, holders, strict=True) if not count]
    if absent:
        logger.warning(
            "sampler: no image holds %s; the order cannot make it more frequent", name_some(absent, _NAMED)
        )
    by_class = class_factors(holders, len(dataset), threshold)
    factors = factors_of_images(images, by_class.tolist(), len(dataset))
    rarest = [
        f"{names[index]} x{by_class[index]:.2f}" for index in np.argsort(-by_class) if by_class[index] > 1
    ]
    logger.info(
        "sampler: %d samples from %d images; repeated: %s",
        epoch_length(factors), len(dataset), name_some(rarest, _NAMED) or "no class",
    )  # fmt: skip
    return factors
