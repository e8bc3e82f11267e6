"""The pixels of a warp: bilinear values of the image, nearest values of the label.

Pixel centres lie at half coordinates for images and for labels alike, so the two never move against each
other by more than half a pixel, at any scale. Pixels outside the image are void in the label and have one
colour in the image.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from utils.dataset_info import IGNORE_INDEX

Size = tuple[int, int]  # height, width

_JPEG_REDUCTIONS = (8, 4, 2)


def size_of(side: int | Sequence[int]) -> Size:
    """Return (height, width) of a side in pixels, or of such a pair."""
    height, width = (side, side) if isinstance(side, int) else side
    return int(height), int(width)


@dataclass(frozen=True)
class Geometry:
    """The place in the source that each pixel of the output comes from.

    Attributes:
        size: (height, width) of the output.
        matrix: (2, 3) float64; source point = matrix @ (x, y, 1) of the output, both measured from the
            corner of the image, so that the centre of the first pixel is (0.5, 0.5).
        ratio: output pixels per source pixel, below 1 where the image shrinks.
        field: (H, W, 2) float32, for an elastic deformation: the point of the output that ``matrix`` maps to
            the source in place of each pixel; ``None`` stands for the pixel itself.
    """

    size: Size
    matrix: np.ndarray
    ratio: float
    field: np.ndarray | None = None

    @property
    def reduction(self) -> int:
        """The largest of 1, 2, 4, 8 by which a decoder may shrink the source without a loss of detail."""
        return next((k for k in _JPEG_REDUCTIONS if self.ratio * k <= 1), 1)

    @property
    def is_identity(self) -> bool:
        """True if every point of the output has the same coordinates in the source."""
        return self.field is None and bool(np.array_equal(self.matrix, [[1, 0, 0], [0, 1, 0]]))

    @property
    def is_mirrored(self) -> bool:
        """True if the output is a mirror image of the source; a rotation is none, nor are two flips together."""
        return bool(np.linalg.det(self.matrix[:, :2]) < 0)

    @functools.cached_property
    def corners(self) -> np.ndarray:
        """(3, 4) float64: corners of a rectangle around all points of the output, as columns (x, y, 1)."""
        left, top, right, bottom = 0.0, 0.0, float(self.size[1]), float(self.size[0])
        if self.field is not None:
            x, y = self.field[..., 0], self.field[..., 1]  # numpy is slow at both at once
            left, top, right, bottom = x.min() - 0.5, y.min() - 0.5, x.max() + 0.5, y.max() + 0.5
        return np.array([[left, right, left, right], [top, top, bottom, bottom], [1, 1, 1, 1]], np.float64)


def warp_label(label: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return the nearest values of a label (H, W) uint8; void outside."""
    if geometry.is_identity and geometry.size == label.shape:
        return label
    if _is_plain_crop(geometry, label.shape[:2]):
        return _slice(label, geometry)
    return _warp(label, geometry, geometry.matrix, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT, IGNORE_INDEX)


def warp_image(image: np.ndarray, geometry: Geometry, full_size: Size | None = None) -> np.ndarray:
    """Return bilinear values of an image, averaged first where it shrinks to a half or less.

    Outside, the colours of the border continue; :func:`fill_outside` paints over them.

    Args:
        image: (H, W, C) uint8, or a copy that was decoded at 1/``geometry.reduction`` of its size.
        geometry: in coordinates of the full image.
        full_size: (height, width) of the full image, where ``image`` is a reduced one.
    """
    size = (image.shape[0], image.shape[1])
    full_size = full_size or size
    if size == full_size:
        if geometry.is_identity and geometry.size == size:
            return image
        if _is_plain_crop(geometry, size):
            return _slice(image, geometry)
    # sides are rounded up, but a pixel of a reduced image is exactly as many of the full one
    reduction = 1 if size == full_size else geometry.reduction
    matrix, ratio = geometry.matrix / reduction, geometry.ratio * reduction
    steps = max(int(1 / ratio + 1e-6), 1)
    image, matrix = _cut(image, matrix, geometry.corners, steps)
    if steps > 1:
        image, matrix = _shrink(image, matrix, steps)
    return _warp_channels(image, geometry, matrix)


def fill_outside(image: np.ndarray, geometry: Geometry, full_size: Size, fill: tuple[int, ...]) -> np.ndarray:
    """Paint the pixels that lie outside the source with one colour.

    Args:
        image: the output of :func:`warp_image`, (H, W, C) uint8.
        geometry: the geometry that it was made with.
        full_size: (height, width) of the source.
        fill: one value of 0..255 per channel.

    Returns:
        (H, W, C) uint8: ``image`` itself if no pixel lies outside, else a copy.
    """
    x, y = geometry.matrix @ geometry.corners
    if min(x.min(), y.min()) >= 0 and x.max() <= full_size[1] and y.max() <= full_size[0]:
        return image
    inside = _warp(
        _plain_colour(full_size, (1,)), geometry, geometry.matrix, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT, 0
    )
    canvas = _plain_colour(image.shape, tuple(fill))
    if image.shape[2] > 4:
        return np.where(inside[..., None], image, canvas)
    return cv2.copyTo(image, inside, canvas.copy()).reshape(image.shape)


# ---- helpers -------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=8)
def _plain_colour(shape: tuple[int, ...], colour: tuple[int, ...]) -> np.ndarray:
    """Return a shared image of one colour, not to be written to; filling it takes numpy longer than a warp."""
    return np.ascontiguousarray(np.broadcast_to(np.array(colour, np.uint8), shape))


def _wh(size: Size) -> tuple[int, int]:
    return size[1], size[0]


def _is_plain_crop(geometry: Geometry, full_size: Size) -> bool:
    """Return whether the output is a rectangle inside the source, with nothing resampled."""
    left, top = geometry.matrix[:, 2]
    return (
        geometry.field is None
        and bool(np.array_equal(geometry.matrix[:, :2], np.eye(2)))
        and left == int(left)
        and top == int(top)
        and 0 <= left <= full_size[1] - geometry.size[1]
        and 0 <= top <= full_size[0] - geometry.size[0]
    )


def _slice(array: np.ndarray, geometry: Geometry) -> np.ndarray:
    left, top = (int(value) for value in geometry.matrix[:, 2])
    return array[top : top + geometry.size[0], left : left + geometry.size[1]]


def _warp(
    array: np.ndarray,
    geometry: Geometry,
    matrix: np.ndarray,
    interpolation: int,
    border: int,
    outside: int = 0,
) -> np.ndarray:
    """Return values of (H, W) or (H, W, up to 4) where ``matrix`` maps the points of the output."""
    moved = matrix.copy()
    if geometry.field is None:  # cv2's coordinates are 0 at the centre of the first pixel
        moved[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5
        return cv2.warpAffine(
            array, moved, _wh(geometry.size), flags=interpolation | cv2.WARP_INVERSE_MAP,
            borderMode=border, borderValue=outside,
        )  # fmt: skip
    moved[:, 2] -= 0.5
    points = cv2.transform(geometry.field, moved)
    warped: np.ndarray = cv2.remap(  # type: ignore[call-overload]  # its stubs want a second map
        array, points, None, interpolation, borderMode=border, borderValue=outside
    )
    return warped


def _cut(
    image: np.ndarray, matrix: np.ndarray, corners: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of the source that the output needs, in full blocks of ``steps``, and the matrix into it."""
    spans = []
    for axis, length in ((0, image.shape[1]), (1, image.shape[0])):
        reached = matrix[axis] @ corners
        margin = 2 * steps  # the taps of the interpolation
        first = max(int((reached.min() - margin) // steps) * steps, 0)
        last = min(int(-(-(reached.max() + margin) // steps)) * steps, length)
        first = min(first, max(length - steps, 0))
        spans.append((first, max(last, first + 1)))
    (left, right), (top, bottom) = spans
    moved = matrix.copy()
    moved[:, 2] -= (left, top)
    return image[top:bottom, left:right], moved


def _shrink(image: np.ndarray, matrix: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Average over blocks of ``steps`` pixels, so that bilinear interpolation skips no pixel."""
    height, width = image.shape[:2]
    small = max(width // steps, 1), max(height // steps, 1)
    shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA).reshape(small[1], small[0], -1)
    return shrunk, np.diag([small[0] / width, small[1] / height]) @ matrix


def _warp_channels(image: np.ndarray, geometry: Geometry, matrix: np.ndarray) -> np.ndarray:
    """Warp any number of channels bilinearly; cv2 takes up to four, and four faster than three."""
    channels = image.shape[2]
    if channels > 4:
        parts = [
            _warp_channels(np.ascontiguousarray(image[..., first : first + 4]), geometry, matrix)
            for first in range(0, channels, 4)
        ]
        return np.concatenate(parts, axis=2)
    if channels == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    warped = _warp(image, geometry, matrix, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    if channels == 3:
        return cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB)
    return warped.reshape(*geometry.size, channels)
