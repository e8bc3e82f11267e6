"""Where the windows of a prediction lie, and how much each counts for every pixel of the result.

The two axes of an image are independent: windows form a grid, and the weight of a window at a pixel
is the product of one number per axis. So the weights of all windows can be made to sum to exactly 1
before any network runs, and nothing has to be counted or divided afterwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Span:
    """One window on one axis.

    Attributes:
        start: first pixel of the window in the (scaled) input.
        size: its length in pixels of the input.
        first: first pixel of the result that it contributes to.
        stop: the pixel after the last.
        position: (stop - first,) float64, where each result pixel lies in the window, in pixels of the
            input: 0 is the centre of the window's first pixel, ``size - 1`` that of its last.
        weight: (stop - first,) float32, above 0; over all windows the weights of a pixel sum to 1.
    """

    start: int
    size: int
    first: int
    stop: int
    position: np.ndarray
    weight: np.ndarray


def scaled_size(length: int, scale: float) -> int:
    """Length of an axis after scaling: rounded, at least 1."""
    return max(1, round(length * scale))


def source_positions(length: int, source: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the pixels of an axis lie on another resolution of it (pixel centres, edges held).

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
    """The pixels before and after positions that lie on an axis, and the fraction between them.

    At a pixel's centre both are that pixel, so that nothing beyond the axis is ever read.
    """
    lower = np.floor(position).astype(np.int64)
    fraction = position - lower
    return lower, lower + (fraction > 0), fraction


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Starts of equal windows that cover an axis, evenly spread and mirror symmetric.

    The first begins at 0, the last ends at ``length``, shifted inside rather than padded; neighbours are
    at most ``stride`` apart.
    """
    if window >= length:
        return [0]
    room = length - window
    gaps = math.ceil(room / stride)
    half = [(2 * room * k + gaps) // (2 * gaps) for k in range(gaps // 2 + 1)]  # rounded, half up
    mirrored = [room - start for start in reversed(half[: (gaps + 1) // 2])]
    return half + mirrored


def plan_axis(length: int, scale: float, window: int | None, stride: int, margin: int = 0) -> list[Span]:
    """Lay windows along one axis.

    Args:
        length: pixels of the result.
        scale: ratio of the input that the network sees to the result.
        window: length of a window in pixels of the scaled input; ``None`` is the whole axis.
        stride: distance of two windows at most; 1 to ``window``.
        margin: pixels at the inner ends of a window that are not used.

    Returns:
        The windows in order.

    Raises:
        ValueError: windows and margin leave pixels uncovered.
    """
    source = scaled_size(length, scale)
    size = source if window is None else min(window, source)
    lower, upper, fraction = source_positions(length, source)
    if source != length:  # two neighbours that a result pixel lies between must share a window
        stride = min(stride, size - 1)
    if size < source and not 1 <= stride <= size - 2 * margin:
        raise ValueError(
            f"windows of {size} pixels with a margin of {margin} at a stride of {stride} leave gaps; "
            "enlarge the window or lower stride or margin"
        )
    starts = window_starts(source, size, stride)
    raw = [_weights(lower + fraction, start, size, source, margin) for start in starts]
    inside = [(lower >= start) & (upper < start + size) for start in starts]
    raw = [weight * covered for weight, covered in zip(raw, inside, strict=True)]
    total = np.sum(raw, axis=0)
    if not (total > 0).all():
        raise ValueError(f"a margin of {margin} pixels leaves parts uncovered; lower it or the stride")
    spans = []
    for start, weight in zip(starts, raw, strict=True):
        used = np.flatnonzero(weight)
        part = slice(int(used[0]), int(used[-1]) + 1)
        spans.append(
            Span(
                start,
                size,
                part.start,
                part.stop,
                (lower + fraction)[part] - start,
                (weight / total)[part].astype(np.float32),
            )
        )
    return spans


def _weights(position: np.ndarray, start: int, size: int, length: int, margin: int) -> np.ndarray:
    """A squared sine that rises from the inner ends of a window; an end at the image's edge is no end."""
    before = position - start + 0.5 - margin if start > 0 else np.full(position.shape, np.inf)
    after = (
        start + size - 0.5 - margin - position if start + size < length else np.full(position.shape, np.inf)
    )
    distance = np.minimum(before, after) / max(size / 2 - margin, 0.5)
    return np.sin(np.clip(distance, 0, 1) * (math.pi / 2)) ** 2
