"""Positions of the windows of a prediction, and the weight of each window at every pixel of the result.

The two axes of an image are independent: windows form a grid, and the weight of a window at a pixel
is the product of one number per axis. The weights of all windows are therefore made to sum to exactly 1
before any network runs, and nothing is counted or divided afterwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from utils.predict.options import PredictOptions

_WINDOW_MULTIPLE = 32  # most networks pad their input to a multiple of this


@dataclass(frozen=True)
class WindowSpan:
    """One window on one axis.

    Attributes:
        start: first pixel of the window in the (scaled) input.
        size: its length in pixels of the input.
        first: first pixel of the result that it contributes to.
        stop: the pixel after the last.
        position: (stop - first,) float64, position of each result pixel in the window, in pixels of the
            input: 0 is the centre of the window's first pixel, ``size - 1`` that of its last.
        weight: (stop - first,) float32, above 0; over all windows the weights of a pixel sum to 1.
    """

    start: int
    size: int
    first: int
    stop: int
    position: np.ndarray
    weight: np.ndarray


class ScalePlan(NamedTuple):
    """The grid of windows over an image at one scale.

    Attributes:
        height: pixels of the scaled image.
        width: pixels of the scaled image.
        rows: windows on the vertical axis, from top to bottom.
        columns: windows on the horizontal axis, from left to right.
    """

    height: int
    width: int
    rows: list[WindowSpan]
    columns: list[WindowSpan]


def plan_scale(height: int, width: int, scale: float, options: PredictOptions) -> ScalePlan:
    """Lay the windows over an image at one scale; without a need for windows, one covers the image.

    Args:
        height: pixels of the image.
        width: pixels of the image.
        scale: ratio of the image that the network sees to the image.
        options: with a window, see :meth:`utils.predict.options.PredictOptions.for_model`.

    Raises:
        ValueError: windows and margin leave pixels uncovered.
    """
    assert options.window is not None
    scaled = scaled_length(height, scale), scaled_length(width, scale)
    windows: tuple[int, int] | tuple[None, None] = (None, None)
    if options.mode == "sliding":
        windows = options.window
    elif options.mode == "multiscale" and scaled[0] * scaled[1] > options.max_whole_pixels:
        windows = _large_window(*scaled, options.window, options)
    axes = []
    for length, window, usual in zip((height, width), windows, options.window, strict=True):
        shared = round(usual * options.overlap)  # large windows need no wider seam than small ones
        stride = max(1, (window or length) - shared)
        axes.append(plan_axis(length, scale, window, stride, options.margin if window else 0))
    return ScalePlan(*scaled, *axes)


def scaled_length(length: int, scale: float) -> int:
    """Return the length of an axis after scaling: rounded, at least 1."""
    return max(1, round(length * scale))


def source_positions(length: int, source: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions of the pixels of an axis at another resolution (pixel centres, edges held).

    Args:
        length: pixels of the axis.
        source: pixels of the same axis at the resolution to read from.

    Returns:
        For each of ``length`` pixels the source pixels before and after it, and the fraction between
        them: bilinear interpolation without aligned corners.
    """
    position = (np.arange(length, dtype=np.float64) + 0.5) * (source / length) - 0.5
    return neighbours(np.clip(position, 0, source - 1))


def neighbours(position: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pixels before and after positions on an axis, and the fraction between them.

    At a pixel's centre both are that pixel, so that nothing beyond the axis is ever read.
    """
    lower = np.floor(position).astype(np.int64)
    fraction = position - lower
    return lower, lower + (fraction > 0), fraction


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Return the starts of equal windows that cover an axis, evenly spread and mirror symmetric.

    The first window begins at 0, the last ends at ``length``, shifted inside rather than padded; neighbours
    are at most ``stride`` apart.
    """
    if window >= length:
        return [0]
    room = length - window
    gaps = math.ceil(room / stride)
    half = [(2 * room * k + gaps) // (2 * gaps) for k in range(gaps // 2 + 1)]  # rounded, half up
    mirrored = [room - start for start in reversed(half[: (gaps + 1) // 2])]
    return half + mirrored


def plan_axis(
    length: int, scale: float, window: int | None, stride: int, margin: int = 0
) -> list[WindowSpan]:
    """Lay windows along one axis.

    Args:
        length: pixels of the result.
        scale: ratio of the input that the network sees to the result.
        window: length of a window in pixels of the scaled input; ``None`` is the full axis.
        stride: largest distance of two neighbouring windows, from 1 to ``window``.
        margin: pixels at the inner ends of a window that are discarded.

    Returns:
        The windows in order.

    Raises:
        ValueError: windows and margin leave pixels uncovered.
    """
    source = scaled_length(length, scale)
    size = source if window is None else min(window, source)
    if source != length:  # the two input pixels around a result pixel must share a window
        stride = min(stride, size - 1)
    if size < source and not 1 <= stride <= size - 2 * margin:
        raise ValueError(
            f"windows of {size} pixels with a margin of {margin} at a stride of {stride} leave gaps; "
            "enlarge the window or lower stride or margin"
        )
    lower, upper, fraction = source_positions(length, source)
    position = lower + fraction
    starts = window_starts(source, size, stride)
    weights = [
        _blend_weights(position, start, size, source, margin) * ((lower >= start) & (upper < start + size))
        for start in starts
    ]
    total = np.sum(weights, axis=0)
    if not (total > 0).all():
        raise ValueError(f"a margin of {margin} pixels leaves parts uncovered; lower it or the stride")
    return [
        _span(start, size, position, weight, total) for start, weight in zip(starts, weights, strict=True)
    ]


def _blend_weights(position: np.ndarray, start: int, size: int, length: int, margin: int) -> np.ndarray:
    """Squared sine that falls towards the inner ends of a window, but not towards the image's border."""
    before = position - start + 0.5 - margin if start > 0 else np.full(position.shape, np.inf)
    after = (
        start + size - 0.5 - margin - position if start + size < length else np.full(position.shape, np.inf)
    )
    distance = np.minimum(before, after) / max(size / 2 - margin, 0.5)
    return np.sin(np.clip(distance, 0, 1) * (math.pi / 2)) ** 2


def _span(start: int, size: int, position: np.ndarray, weight: np.ndarray, total: np.ndarray) -> WindowSpan:
    """Cut positions and normalised weights down to the pixels where the window has a weight."""
    used = np.flatnonzero(weight)
    part = slice(int(used[0]), int(used[-1]) + 1)
    normalised = (weight / total)[part].astype(np.float32)
    return WindowSpan(start, size, part.start, part.stop, position[part] - start, normalised)


def _large_window(
    height: int, width: int, least: tuple[int, int], options: PredictOptions
) -> tuple[int, int]:
    """Return the window of a large image: ``max_whole_pixels`` or less, and the fewest windows possible.

    It is never smaller than ``least``, the window of mode sliding.
    """
    side = math.isqrt(options.max_whole_pixels)
    if height <= side:
        large = height, options.max_whole_pixels // height
    elif width <= side:
        large = options.max_whole_pixels // width, width
    else:
        large = side, side
    rows, columns = least
    return (
        _even_window(height, max(large[0], rows), round(rows * options.overlap)),
        _even_window(width, max(large[1], columns), round(columns * options.overlap)),
    )


def _even_window(length: int, largest: int, shared: int) -> int:
    """Return the smallest window of which as many cover an axis as of the largest, at the same overlap."""
    if largest >= length:
        return length
    count = math.ceil((length - shared) / max(1, largest - shared))
    even = math.ceil((length + (count - 1) * shared) / count)
    return min(even + -even % _WINDOW_MULTIPLE, largest)
