"""Augmentation: scale, rotation, crop and flip as one warp of the crop, then colour and blur.

Everything works on uint8. Pixel centres lie at half coordinates for images and for labels alike, so the
two never move against each other by more than half a pixel, at any scale. What lies outside the image
is painted with the mean colour in the image and with void in the label, after colour and blur.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from utils.dataset_info import IGNORE_INDEX
from utils.lazy import lazy_import

if TYPE_CHECKING:
    import cv2
else:
    cv2 = lazy_import("cv2")

Size = tuple[int, int]  # height, width

_JPEG_REDUCTIONS = (8, 4, 2)


@dataclass(frozen=True)
class Geometry:
    """Where each pixel of the output comes from.

    Attributes:
        size: (height, width) of the output.
        matrix: (2, 3) float64; source point = matrix @ (x, y, 1) of the output, both measured from the
            corner of the image, so that the centre of the first pixel is (0.5, 0.5).
        ratio: output pixels per source pixel, below 1 where the image shrinks.
    """

    size: Size
    matrix: np.ndarray
    ratio: float

    @property
    def reduction(self) -> int:
        """The largest of 1, 2, 4, 8 by which the source can shrink first and still have all the detail."""
        return next((k for k in _JPEG_REDUCTIONS if self.ratio * k <= 1), 1)

    @property
    def is_identity(self) -> bool:
        return bool(np.array_equal(self.matrix, [[1, 0, 0], [0, 1, 0]]))


@dataclass(frozen=True)
class Ranges:
    """What may be drawn; a range whose two ends are equal draws nothing.

    Attributes:
        scale: ratio to ``base_size``.
        rotate: degrees, counter-clockwise as seen.
        flip: probability of a mirror image.
        vertical_flip: probability of an image upside down.
        blur: standard deviation of a Gaussian, in pixels of the crop.
        brightness: share by which all channels may be raised or lowered.
        contrast: factor lies in 1 - contrast .. 1 + contrast; so for saturation.
        saturation: RGB images only.
        hue: degrees by which hues may turn either way; RGB images only.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    rotate: tuple[float, float] = (0.0, 0.0)
    flip: float = 0.0
    vertical_flip: float = 0.0
    blur: tuple[float, float] = (0.0, 0.0)
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        for name in ("scale", "rotate", "blur"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: {low} to {high} is no range")

    @property
    def has_colour(self) -> bool:
        return max(self.brightness, self.contrast, self.saturation, self.hue) > 0


# ---- geometry ------------------------------------------------------------------------------------


def long_side_ratio(size: Size, base_size: int | None) -> float:
    """Ratio that makes the longer side ``base_size``; 1 without one."""
    return 1.0 if base_size is None else base_size / max(size)


def whole_image(size: Size) -> Geometry:
    """The image as it is."""
    return Geometry(size, np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), 1.0)


def resized(size: Size, ratio: float, crop_size: Size | None = None) -> Geometry:
    """The whole image at another size, or its centre at that size."""
    height, width = scaled_size(size, ratio)
    output = crop_size or (height, width)
    corner = ((width - output[1]) // 2, (height - output[0]) // 2)
    return _geometry(size, (height, width), output, corner)


def draw_geometry(
    size: Size,
    ranges: Ranges,
    rng: np.random.Generator,
    base_size: int | None = None,
    crop_size: Size | None = None,
    centre: tuple[float, float] | None = None,
) -> Geometry:
    """Draw scale, rotation, place of the crop and flips.

    Args:
        size: (height, width) of the image.
        ranges: what may be drawn.
        rng: where the draws come from.
        base_size: length of the longer side at scale 1; ``None`` keeps the image's own.
        crop_size: (height, width) of the output; ``None`` gives the whole scaled image.
        centre: (x, y) in 0..1 of the image: a point that the crop must hold, if it is smaller.
    """
    ratio = long_side_ratio(size, base_size) * rng.uniform(*ranges.scale)
    angle = rng.uniform(*ranges.rotate)
    place = rng.random(2)
    flips = rng.random(2) < (ranges.flip, ranges.vertical_flip)
    scaled = scaled_size(size, ratio)
    output = crop_size or scaled
    corner = tuple(
        _place(free, share, None if centre is None else centre[axis] * whole, length)
        for axis, (free, share, whole, length) in enumerate(
            (scaled[1 - a] - output[1 - a], place[a], scaled[1 - a], output[1 - a]) for a in (0, 1)
        )
    )
    return _geometry(size, scaled, output, (corner[0], corner[1]), angle, bool(flips[0]), bool(flips[1]))


def scaled_size(size: Size, ratio: float) -> Size:
    """(height, width) after scaling; a side never vanishes."""
    return max(round(size[0] * ratio), 1), max(round(size[1] * ratio), 1)


def _place(free: int, share: float, point: float | None, length: int) -> int:
    """First pixel of the crop along one axis; negative where the image is smaller than the crop."""
    low, high = min(free, 0), max(free, 0)
    if point is not None and free > 0:  # the point lies at a random place of the crop, the crop inside
        return int(np.clip(round(point - share * length), low, high))
    return low + min(int(share * (high - low + 1)), high - low)


def _geometry(
    size: Size,
    scaled: Size,
    output: Size,
    corner: tuple[int, int],
    angle: float = 0.0,
    mirror: bool = False,
    upside_down: bool = False,
) -> Geometry:
    """Compose output -> flip -> crop -> rotation about the scaled image's centre -> scale -> source."""
    height, width = output
    matrix = np.eye(3)
    if mirror:
        matrix = np.array([[-1.0, 0, width], [0, 1, 0], [0, 0, 1]]) @ matrix
    if upside_down:
        matrix = np.array([[1.0, 0, 0], [0, -1, height], [0, 0, 1]]) @ matrix
    matrix = np.array([[1.0, 0, corner[0]], [0, 1, corner[1]], [0, 0, 1]]) @ matrix
    if angle:
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        x, y = scaled[1] / 2, scaled[0] / 2
        matrix = np.array([[c, -s, x - c * x + s * y], [s, c, y - s * x - c * y], [0, 0, 1]]) @ matrix
    # each axis by its own rounded size: the borders of image and output meet exactly
    stretch = np.diag([size[1] / scaled[1], size[0] / scaled[0], 1.0])
    ratio = max(scaled[0] / size[0], scaled[1] / size[1])
    return Geometry(output, (stretch @ matrix)[:2], ratio)


# ---- pixels --------------------------------------------------------------------------------------


def warp_label(label: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Nearest value of (H, W) uint8; void outside."""
    if geometry.is_identity and geometry.size == label.shape:
        return label
    if _is_plain_crop(geometry, label.shape[:2]):
        return _slice(label, geometry)
    return cv2.warpAffine(
        label, _cv_matrix(geometry.matrix), _wh(geometry.size),
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT, borderValue=IGNORE_INDEX,
    )  # fmt: skip


def warp_image(image: np.ndarray, geometry: Geometry, full_size: Size | None = None) -> np.ndarray:
    """Bilinear values of (H, W, C) uint8, averaged first where the image shrinks to a half or less.

    Outside, the colours of the border go on; :func:`fill_outside` paints over them.

    Args:
        image: the image, or a copy of it that was reduced when it was decoded.
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
    matrix = np.diag([size[1] / full_size[1], size[0] / full_size[0]]) @ geometry.matrix
    ratio = geometry.ratio * max(full_size[0] / size[0], full_size[1] / size[1])
    steps = max(int(1 / ratio + 1e-6), 1)
    image, matrix = _cut(image, matrix, geometry.size, steps)
    if steps > 1:
        image, matrix = _shrink(image, matrix, steps)
    return _warp_channels(image, matrix, geometry.size)


def fill_outside(image: np.ndarray, geometry: Geometry, full_size: Size, fill: tuple[int, ...]) -> np.ndarray:
    """Paint what lies outside the source with one colour; the image itself where nothing does.

    Args:
        image: the output, (H, W, C) uint8; it is painted on where it is no view of the source.
        geometry: how it was made.
        full_size: (height, width) of the source.
        fill: one value of 0..255 per channel.
    """
    x, y = geometry.matrix @ _corners(geometry.size)
    if min(x.min(), y.min()) >= 0 and x.max() <= full_size[1] and y.max() <= full_size[0]:
        return image
    inside = cv2.warpAffine(
        np.ones(full_size, np.uint8), _cv_matrix(geometry.matrix), _wh(geometry.size),
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_CONSTANT, borderValue=0,
    )  # fmt: skip
    canvas = _plain_colour(image.shape, tuple(fill))
    if image.shape[2] > 4:
        return np.where(inside[..., None], image, canvas)
    return cv2.copyTo(image, inside, canvas.copy()).reshape(image.shape)


def blur_image(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur; the kernel reaches three standard deviations to either side."""
    reach = 2 * math.ceil(3 * sigma) + 1
    blurred = cv2.GaussianBlur(image, (reach, reach), sigma, borderType=cv2.BORDER_REFLECT_101)
    return blurred.reshape(image.shape)


def jitter_colour(image: np.ndarray, ranges: Ranges, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast, saturation and hue as one matrix on the channels.

    Saturation and hue act on RGB images only; brightness and contrast on any number of channels.

    Args:
        image: (H, W, C) uint8.
        ranges: what may be drawn.
        rng: where the draws come from.
    """
    channels = image.shape[2]
    contrast = 1 + ranges.contrast * rng.uniform(-1, 1)
    brightness = 255 * ranges.brightness * rng.uniform(-1, 1)
    saturation = 1 + ranges.saturation * rng.uniform(-1, 1)
    angle = math.radians(ranges.hue * rng.uniform(-1, 1))
    offset = brightness + (1 - contrast) * (float(image.mean()) if ranges.contrast else 0.0)
    if channels == 3 and max(ranges.saturation, ranges.hue) > 0:
        mixing = contrast * _hue_saturation(saturation, angle)
        return cv2.transform(image, np.hstack([mixing, np.full((3, 1), offset)]))
    table = np.clip(np.rint(np.arange(256) * contrast + offset), 0, 255).astype(np.uint8)
    return cv2.LUT(image, table).reshape(image.shape)


# ---- parts ---------------------------------------------------------------------------------------


def _hue_saturation(saturation: float, angle: float) -> np.ndarray:
    """Rotation of RGB about the grey axis that keeps the luma, after a stretch away from it."""
    luma = np.tile([0.299, 0.587, 0.114], (3, 1))
    stretch = luma + saturation * (np.eye(3) - luma)
    c, s = math.cos(angle), math.sin(angle)
    third, root = (1 - c) / 3, s / math.sqrt(3)
    turn = np.array(
        [
            [c + third, third - root, third + root],
            [third + root, c + third, third - root],
            [third - root, third + root, c + third],
        ]
    )
    return luma + (np.eye(3) - luma) @ turn @ stretch


@functools.lru_cache(maxsize=8)
def _plain_colour(shape: tuple[int, ...], colour: tuple[int, ...]) -> np.ndarray:
    """An image of one colour; numpy takes longer to fill it than cv2 to warp a picture."""
    return np.ascontiguousarray(np.broadcast_to(np.array(colour, np.uint8), shape))


def _wh(size: Size) -> tuple[int, int]:
    return size[1], size[0]


def _cv_matrix(matrix: np.ndarray) -> np.ndarray:
    """From corner-based coordinates to cv2's, where the centre of the first pixel is (0, 0)."""
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5
    return moved


def _is_plain_crop(geometry: Geometry, full_size: Size) -> bool:
    """Whether the output is a part of the source with nothing resampled and nothing outside."""
    left, top = geometry.matrix[:, 2]
    return (
        bool(np.array_equal(geometry.matrix[:, :2], np.eye(2)))
        and left == int(left)
        and top == int(top)
        and 0 <= left <= full_size[1] - geometry.size[1]
        and 0 <= top <= full_size[0] - geometry.size[0]
    )


def _slice(array: np.ndarray, geometry: Geometry) -> np.ndarray:
    left, top = (int(value) for value in geometry.matrix[:, 2])
    return array[top : top + geometry.size[0], left : left + geometry.size[1]]


def _corners(size: Size) -> np.ndarray:
    """The corners of an output as columns (x, y, 1)."""
    return np.array([[0, size[1], 0, size[1]], [0, 0, size[0], size[0]], [1, 1, 1, 1]], np.float64)


def _cut(image: np.ndarray, matrix: np.ndarray, size: Size, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of the source that the output needs, in whole blocks of ``steps``, and where it begins."""
    spans = []
    for axis, length in ((0, image.shape[1]), (1, image.shape[0])):
        reached = matrix[axis] @ _corners(size)
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
    """Average over blocks of ``steps`` pixels, so that the warp's four taps miss nothing."""
    height, width = image.shape[:2]
    small = max(width // steps, 1), max(height // steps, 1)
    shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA).reshape(small[1], small[0], -1)
    return shrunk, np.diag([small[0] / width, small[1] / height]) @ matrix


def _warp_channels(image: np.ndarray, matrix: np.ndarray, size: Size) -> np.ndarray:
    """Bilinear warp of any number of channels; cv2 takes up to four, and four faster than three."""
    channels = image.shape[2]
    if channels > 4:
        parts = [
            _warp_channels(np.ascontiguousarray(image[..., first : first + 4]), matrix, size)
            for first in range(0, channels, 4)
        ]
        return np.concatenate(parts, axis=2)
    if channels == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    warped = cv2.warpAffine(
        image, _cv_matrix(matrix), _wh(size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB) if channels == 3 else warped.reshape(*size, channels)
