"""Boundary IoU: agreement of the outlines of objects, independent of the objects' size.

Cheng, Girshick, Dollar, Berg, Kirillov, "Boundary IoU: Improving Object-Centric Image Segmentation
Evaluation", 2021.
"""

from __future__ import annotations

import math

import cv2
import numpy as np


def boundary_width(size: tuple[int, int], ratio: float = 0.02) -> int:
    """Return the width of the boundary in pixels: a share of the diagonal of ``size``, at least 1."""
    return max(1, round(ratio * math.hypot(*size)))


def boundary(region: np.ndarray, width: int) -> np.ndarray:
    """Return the pixels of a region that are at most ``width`` pixels (diagonals count 1) from its outside.

    Pixels beyond the image's border count as outside, as in the authors' code.

    Args:
        region: (H, W) bool.
        width: in pixels, at least 1.

    Returns:
        (H, W) bool.
    """
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    inner = cv2.erode(region.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    found: np.ndarray = region & (inner == 0)
    return found


def count_boundary(
    prediction: np.ndarray, target: np.ndarray, num_classes: int, ratio: float = 0.02
) -> np.ndarray:
    """Count boundary pixels per class, to be summed over images.

    Void is outside every region, of the prediction too: else the rims of a perfect prediction lie apart.

    Args:
        prediction: (H, W) uint8 class indices.
        target: (H, W) uint8 class indices; other values are void and not counted.
        num_classes: C.
        ratio: see :func:`boundary_width`.

    Returns:
        (C, 2) int64: pixels in both boundaries, and in either of them.
    """
    counts = np.zeros((num_classes, 2), dtype=np.int64)
    valid = target < num_classes
    width = boundary_width((target.shape[0], target.shape[1]), ratio)
    for index in np.union1d(np.unique(target[valid]), np.unique(prediction[valid])):
        if index < num_classes:
            true = boundary(target == index, width)
            predicted = boundary((prediction == index) & valid, width)
            counts[index] = (true & predicted).sum(), (true | predicted).sum()
    return counts
