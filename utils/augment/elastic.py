"""Elastic deformation: random displacements of a coarse grid, and stretched cells of that grid.

As in Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015
(section 3.1), the points of a coarse grid move by Gaussian displacements, and cubics interpolate between
them. The result looks like the blurred noise of Simard, Steinkraus and Platt, "Best practices for
convolutional neural networks", 2003, at a few per cent of its cost.
"""

from __future__ import annotations

import cv2
import numpy as np

_CELL = 64  # pixels of the crop between two points of the grid
_FEWEST = 2  # cells along a side
_SAMPLED = 4  # the stretch is measured at every fourth pixel


def draw_field(size: tuple[int, int], elastic: float, grid: float, rng: np.random.Generator) -> np.ndarray:
    """Draw the place in the crop that each pixel of the deformed crop comes from.

    Args:
        size: (height, width) of the crop.
        elastic: standard deviation in pixels of the displacements of points 64 pixels apart, cut off at two
            standard deviations and at a fifth of the distance between two points, so that the field does not fold.
        grid: share by which each row and each column of cells may grow or shrink.
        rng: source of the draws.

    Returns:
        (H, W, 2) float32: x and y from the corner of the crop, whose first pixel has its centre at (0.5, 0.5).
    """
    height, width = size
    cells = [max(round(length / _CELL), _FEWEST) for length in size]
    field = np.empty((height, width, 2), np.float32)
    field[..., 0] = _stretched(width, cells[1], grid, rng)
    field[..., 1] = _stretched(height, cells[0], grid, rng)[:, None]
    if elastic:
        points = rng.normal(0, elastic, (cells[0] + 1, cells[1] + 1, 2))
        most = np.minimum(2 * elastic, [width / (cells[1] + 1) / 5, height / (cells[0] + 1) / 5])
        points = np.clip(points, -most, most).astype(np.float32)
        field += cv2.resize(points, (width, height), interpolation=cv2.INTER_CUBIC)
    return field


def smallest_step(field: np.ndarray) -> float:
    """Return the distance of neighbouring pixels in the source where it is magnified most, within 0.25..1.

    Args:
        field: (H, W, 2) as :func:`draw_field` returns it.
    """
    steps = []
    for axis in (0, 1):  # x changes along axis 1 of the array, y along axis 0
        along = field[::_SAMPLED, ::_SAMPLED, axis]
        if along.shape[1 - axis] > 1:
            steps.append(float(np.diff(along, axis=1 - axis).min()) / _SAMPLED)
    return min(max(min(steps, default=1.0), 0.25), 1.0)


def _stretched(length: int, cells: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return the pixel centres of a side whose cells have changed their lengths; its ends stay in place."""
    centres = np.arange(length) + 0.5
    if not share:
        return centres
    widths = rng.uniform(1 - share, 1 + share, cells)
    edges = np.concatenate([[0.0], np.cumsum(widths)]) * (length / widths.sum())
    moved: np.ndarray = np.interp(centres, np.linspace(0, length, cells + 1), edges)
    return moved
