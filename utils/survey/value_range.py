"""The range of values that 16-bit images use, and the ``value_range`` that shows them best."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from utils.errors import DataError
from utils.images.depth import stored_extent

_FULL = 65535
NARROW = 4  # a range is narrow where it uses less than one part in so many


def measure_range(paths: Iterable[Path], channels: int) -> tuple[int, int] | None:
    """Return the lowest and the highest value that 16-bit images store.

    Args:
        paths: image files; those that cannot be read are passed over.
        channels: number of channels that count, from the first.

    Returns:
        (lowest, highest); ``None`` where no file has 16 bits.
    """
    extents = []
    for path in paths:
        with suppress(DataError):
            extents.append(stored_extent(path, channels))
    found = [extent for extent in extents if extent is not None]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None


def fitting_range(lowest: int, highest: int) -> tuple[int, int] | None:
    """Return the ``value_range`` for 16-bit images: that of 8 to 15 bits, or a narrow one as measured.

    A full number of bits leaves room for brighter images than those that were measured.

    Returns:
        (lowest, highest); ``None`` where all 16 bits are used.
    """
    top = 2 ** max(int(highest).bit_length(), 8) - 1
    if highest > lowest and NARROW * (highest - lowest) < top:  # such as signed values with 32768 added
        return lowest, highest
    return (0, top) if top < _FULL else None
