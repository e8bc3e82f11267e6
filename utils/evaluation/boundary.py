"""Boundary IoU: how well the outlines agree, whatever the size of what they enclose.

Cheng, Girshick, Dollar, Berg, Kirillov, "Boundary IoU: Improving Object-Centric Image Segmentation
Evaluation", 2021.
"""

from __future__ import annotations

import math

import cv2
import numpy as np


def boundary_width(size: tuple[int, int], ratio: float = 0.02) -> int:
    """Width of the rim that is compared, in pixels: a share of the image's diagonal, at least 1."""
    return max(1, round(ratio * math.hypot(*size)))


def boundary(region: np.ndarray, width: int) -> np.ndarray:
    """Pixels of a region that are at most ``width`` pixels (diagonals count 1) from its outside.

    The image's edge counts as outside, as in the authors' code.

    Args:
        region: (H, W) bool.
        width: at least 1.
    """
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    inner = cv2.erode(region.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return region & (inner == 0)


def count_boundary(
    prediction: np.ndarray, target: np.ndarray, num_classes: int, ratio: float = 0.02
) -> np.ndarray:
    """Boundary pixels per class, to be summed over images.

    Args:
        prediction: (H, W) uint8 class indices.
        target: (H, W) uint8 class indices; other values are void and not compared.
        num_classes: C.
        ratio: see :func:`boundary_width`.

    Returns:
        (C, 2) int64: pixels in both rims, and in either.
    """
    counts = np.zeros((num_classes, 2), dtype=np.int64)
    valid = target < num_classes
    width = boundary_width((target.shape[0], target.shape[1]), ratio)
    for index in np.union1d(np.unique(target[valid]), np.unique(prediction[valid])):
        if index < num_classes:
            true = boundary(target == index, width)
            found = boundary(prediction == index, width)
            counts[index] = (true & found & valid).sum(), ((true | found) & valid).sum()
    return counts
