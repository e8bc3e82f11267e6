"""Random draws: scale, rotation, crop and flip as one geometry, then colour and blur.

Images are uint8. Pixel centres lie at half coordinates for images and for labels alike, so the two never
move against each other by more than half a pixel, at any scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from utils.augment.elastic import draw_field, smallest_step
from utils.augment.warp import Geometry, Size, warp_label


@dataclass(frozen=True)
class Ranges:
    """Numbers to draw from: the options of the same names of :class:`~utils.augment.transform.SampleTransform`.

    Each is a (lowest, highest) pair or the size of the largest change. The defaults change nothing.
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
    gamma: tuple[float, float] = (1.0, 1.0)
    exposure: tuple[float, float] = (1.0, 1.0)
    elastic: float = 0.0
    grid: float = 0.0
    label_elastic: float = 0.0

    @property
    def has_colour(self) -> bool:
        """True if colours may change by :func:`jitter_colour`."""
        return max(self.brightness, self.contrast, self.saturation, self.hue) > 0

    @property
    def has_tone(self) -> bool:
        """True if colours may change by :func:`change_tone`."""
        return self.gamma != (1.0, 1.0) or self.exposure != (1.0, 1.0)


# ---- geometry ------------------------------------------------------------------------------------


def long_side_ratio(size: Size, base_size: int | None) -> float:
    """Return the ratio that makes the longer side ``base_size``; 1 if that is ``None``."""
    return 1.0 if base_size is None else base_size / max(size)


def whole_image(size: Size) -> Geometry:
    """Return the geometry that leaves an image of this (height, width) as it is."""
    return Geometry(size, np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), 1.0)


def resized(size: Size, ratio: float, crop_size: Size | None = None) -> Geometry:
    """Return the geometry that scales an image of this (height, width), and cuts a crop out of its centre."""
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
    """Draw the scale, the rotation, the place of the crop, the flips and the elastic field.

    Args:
        size: (height, width) of the image.
        ranges: numbers to draw from.
        rng: source of the draws.
        base_size: length of the longer side at scale 1; ``None`` keeps the image's own.
        crop_size: (height, width) of the output; ``None`` gives the full scaled image.
        centre: (x, y) in 0..1 of the image: a point that the crop contains where it is smaller than the image.
    """
    ratio = long_side_ratio(size, base_size) * rng.uniform(*ranges.scale)
    angle = rng.uniform(*ranges.rotate)
    place = rng.random(2)
    flips = rng.random(2) < (ranges.flip, ranges.vertical_flip)
    scaled = scaled_size(size, ratio)
    output = crop_size or scaled
    corner = tuple(
        _place(free, share, None if centre is None else centre[axis] * full, length)
        for axis, (free, share, full, length) in enumerate(
            (scaled[1 - a] - output[1 - a], place[a], scaled[1 - a], output[1 - a]) for a in (0, 1)
        )
    )
    plan = _geometry(size, scaled, output, (corner[0], corner[1]), angle, bool(flips[0]), bool(flips[1]))
    if not (ranges.elastic or ranges.grid):
        return plan
    field = draw_field(output, ranges.elastic, ranges.grid, rng)
    return replace(plan, field=field, ratio=plan.ratio / smallest_step(field))


def scaled_size(size: Size, ratio: float) -> Size:
    """Return (height, width) after scaling, at least 1 each."""
    return max(round(size[0] * ratio), 1), max(round(size[1] * ratio), 1)


def _place(free: int, share: float, point: float | None, length: int) -> int:
    """Return the first pixel of the crop along one axis; negative where the image is smaller than the crop."""
    low, high = min(free, 0), max(free, 0)
    if point is not None and free > 0:  # the point at a random place of the crop, the crop inside the image
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
    # each axis by its own rounded size, so that the borders of image and output meet exactly
    stretch = np.diag([size[1] / scaled[1], size[0] / scaled[0], 1.0])
    ratio = max(scaled[0] / size[0], scaled[1] / size[1])
    return Geometry(output, (stretch @ matrix)[:2], ratio)


def jitter_label(label: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Bend a label (H, W) uint8 by an elastic field of its own, so that its boundaries move a little.

    As label-specific elastic deformation in NSegment ("NSegment: Label-specific deformations for remote sensing
    image segmentation", 2025). At the border the last row and column continue.

    Args:
        label: the label.
        strength: standard deviation in pixels, as ``elastic`` of :func:`~utils.augment.elastic.draw_field`.
        rng: source of the draws.
    """
    size = (label.shape[0], label.shape[1])
    field = draw_field(size, strength, 0.0, rng)
    field = np.clip(field, 0.5, np.array([size[1] - 0.5, size[0] - 0.5], np.float32))
    return warp_label(label, replace(whole_image(size), field=field))


# ---- colour --------------------------------------------------------------------------------------


def blur_image(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur (H, W, C) uint8 with a Gaussian kernel that reaches three standard deviations to either side."""
    reach = 2 * math.ceil(3 * sigma) + 1
    blurred = cv2.GaussianBlur(image, (reach, reach), sigma, borderType=cv2.BORDER_REFLECT_101)
    return blurred.reshape(image.shape)


def change_colour(
    image: np.ndarray, ranges: Ranges, probability: float, rng: np.random.Generator
) -> np.ndarray:
    """Change tone and colour of (H, W, C) uint8 with this probability, as far as ``ranges`` say so."""
    if not (ranges.has_colour or ranges.has_tone) or (probability < 1 and rng.random() >= probability):
        return image
    if ranges.has_tone:
        image = change_tone(image, ranges, rng)
    return jitter_colour(image, ranges, rng) if ranges.has_colour else image


def change_tone(image: np.ndarray, ranges: Ranges, rng: np.random.Generator) -> np.ndarray:
    """Draw and apply exposure, a factor on all channels, then gamma, a power of values in 0..1.

    Args:
        image: (H, W, C) uint8.
        ranges: numbers to draw from.
        rng: source of the draws.

    Returns:
        (H, W, C) uint8.
    """
    exposure, gamma = rng.uniform(*ranges.exposure), rng.uniform(*ranges.gamma)
    values = np.clip(np.arange(256) / 255 * exposure, 0, 1) ** gamma
    return cv2.LUT(image, np.rint(255 * values).astype(np.uint8)).reshape(image.shape)


def jitter_colour(image: np.ndarray, ranges: Ranges, rng: np.random.Generator) -> np.ndarray:
    """Draw and apply brightness, contrast, saturation and hue as one matrix on the channels.

    Saturation and hue act on RGB images only; brightness and contrast on any number of channels.

    Args:
        image: (H, W, C) uint8.
        ranges: numbers to draw from.
        rng: source of the draws.

    Returns:
        (H, W, C) uint8.
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


# ---- helpers -------------------------------------------------------------------------------------


def _hue_saturation(saturation: float, angle: float) -> np.ndarray:
    """Return (3, 3): a stretch away from the grey axis, then a rotation about it that keeps the luma."""
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
    matrix: np.ndarray = luma + (np.eye(3) - luma) @ turn @ stretch
    return matrix
