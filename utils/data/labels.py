"""Turns the raw values of masks into class indices, and says which values are not allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from utils.dataset_info import IGNORE_INDEX
from utils.errors import LabelError

Colour = tuple[int, int, int]


class LabelTable:
    """Raw mask value -> class index or void; every other value is a mistake in the data.

    Args:
        indices: raw value -> class index, or 255 for void.
        num_classes: how many classes there are.

    Raises:
        ValueError: an index is neither a class nor void.
    """

    def __init__(self, indices: Mapping[int, int], num_classes: int) -> None:
        for value, index in indices.items():
            if not (0 <= index < num_classes or index == IGNORE_INDEX):
                raise ValueError(f"mask value {value} is given class {index} of {num_classes}")
        self.indices = dict(indices)
        self.num_classes = num_classes
        self._table = np.full(256, IGNORE_INDEX, dtype=np.uint8)
        self._legal = np.zeros(256, dtype=bool)
        for value, index in indices.items():
            if 0 <= value < 256:
                self._table[value] = index
                self._legal[value] = True
        self._identity = bool((self._table[self._legal] == np.flatnonzero(self._legal)).all())
        self._shift, self._span = _one_range(self._legal)

    def encode(self, mask: np.ndarray, source: str) -> np.ndarray:
        """Class indices of a raw mask.

        Args:
            mask: (H, W) raw values.
            source: the file, for the message.

        Returns:
            (H, W) uint8, 0..num_classes-1 and 255.

        Raises:
            LabelError: a value is neither a class nor void.
        """
        if mask.dtype != np.uint8:
            return self._encode_wide(mask, source)
        if not self._all_legal(mask):
            raise LabelError(self.complain(mask, source))
        return mask if self._identity else cv2.LUT(np.ascontiguousarray(mask), self._table)

    def _all_legal(self, mask: np.ndarray) -> bool:
        if self._span is not None:  # a tenth of the time that counting takes
            return bool((mask + self._shift).max(initial=0) < self._span)
        counts = cv2.calcHist([np.ascontiguousarray(mask)], [0], None, [256], [0, 256]).reshape(-1)
        return not counts[~self._legal].any()

    def _encode_wide(self, mask: np.ndarray, source: str) -> np.ndarray:
        values, inverse = np.unique(mask, return_inverse=True)
        if any(int(value) not in self.indices for value in values):
            raise LabelError(self.complain(mask, source))
        table = np.array([self.indices[int(value)] for value in values], dtype=np.uint8)
        return table[inverse].reshape(mask.shape)

    def illegal(self, mask: np.ndarray) -> dict[int, int]:
        """Values that are neither a class nor void, with the number of pixels of each."""
        values, counts = np.unique(mask, return_counts=True)
        return {int(v): int(n) for v, n in zip(values, counts, strict=True) if int(v) not in self.indices}

    def complain(self, mask: np.ndarray, source: str) -> str:
        """One line: file, illegal values, their share, the first pixel, what is allowed, a likely fix."""
        bad = self.illegal(mask)
        row, column = np.argwhere(np.isin(mask, list(bad)))[0]
        shown = ", ".join(map(str, list(bad)[:8])) + (" ..." if len(bad) > 8 else "")
        share = 100 * sum(bad.values()) / mask.size
        return (
            f"{source}: value{'s' if len(bad) > 1 else ''} {shown} at {share:.3g} % of its pixels, first at "
            f"row {row}, column {column}; allowed are {self.allowed()}"
            + _likely_fix(set(map(int, np.unique(mask))), self.num_classes)
        )

    def allowed(self) -> str:
        """The values that stand for classes and for void, in words."""
        classes = sorted(value for value, index in self.indices.items() if index != IGNORE_INDEX)
        void = sorted(value for value, index in self.indices.items() if index == IGNORE_INDEX)
        return _ranges(classes) + (f" and {_ranges(void)} (void)" if void else "")


def _one_range(legal: np.ndarray) -> tuple[np.uint8, int | None]:
    """What to add, modulo 256, so that the legal ones of the 256 values become 0..length-1, and that length.

    0..20 and 255 are one range in this arithmetic. The length is ``None`` where there are gaps.
    """
    starts = np.flatnonzero(legal & ~np.roll(legal, 1))
    if len(starts) > 1:
        return np.uint8(0), None
    first = int(starts[0]) if len(starts) else 0
    return np.uint8(-first % 256), int(legal.sum())


def identity_table(num_classes: int, void_values: Sequence[int] = (IGNORE_INDEX,)) -> LabelTable:
    """Masks that store class indices."""
    void = {value: IGNORE_INDEX for value in void_values}
    return LabelTable({**{i: i for i in range(num_classes)}, **void}, num_classes)


class ColourTable:
    """Colour of a mask -> class index or void; every other colour is a mistake in the data.

    Args:
        indices: (red, green, blue) -> class index, or 255 for void.
    """

    def __init__(self, indices: Mapping[Colour, int]) -> None:
        codes = sorted((_code(colour), index) for colour, index in indices.items())
        self._codes = np.array([code for code, _ in codes], dtype=np.uint32)
        self._indices = np.array([index for _, index in codes], dtype=np.uint8)

    def encode(self, mask: np.ndarray, source: str) -> np.ndarray:
        """Class indices of a colour mask (H, W, 3) uint8.

        Raises:
            LabelError: a colour is not in the table.
        """
        planes = mask.astype(np.uint32)
        codes = (planes[..., 0] << 16) | (planes[..., 1] << 8) | planes[..., 2]
        position = np.searchsorted(self._codes, codes).clip(max=len(self._codes) - 1)
        wrong = self._codes[position] != codes
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            colour = tuple(int(value) for value in mask[row, column])
            raise LabelError(
                f"{source}: colour {colour} at row {row}, column {column} is not in the colour table "
                f"({100 * wrong.mean():.3g} % of the pixels have such colours)"
            )
        return self._indices[position]


def _code(colour: Colour) -> int:
    red, green, blue = colour
    return (red << 16) | (green << 8) | blue


def _ranges(values: Sequence[int]) -> str:
    """``0..20, 255`` for a sorted list of values."""
    parts: list[list[int]] = []
    for value in values:
        if parts and value == parts[-1][1] + 1:
            parts[-1][1] = value
        else:
            parts.append([value, value])
    return ", ".join(str(a) if a == b else f"{a}..{b}" for a, b in parts)


def _likely_fix(values: set[int], num_classes: int) -> str:
    """What such values usually mean; starts with '; ' or is empty."""
    if len(values) == 2 and 0 in values and num_classes == 2:
        other = max(values)
        return f'; only 0 and {other} occur: give the Folder data set "values": [0, {other}]'
    if values <= set(range(1, num_classes + 1)) | {IGNORE_INDEX}:
        return f"; the values look like 1..{num_classes}: map them with 'values' of the Folder data set"
    if len(values) > max(32, 2 * num_classes) and len(values) > 60:
        return "; so many values look like a grey photo or a mask that was resized with interpolation"
    if IGNORE_INDEX in values and len(values - set(range(num_classes))) == 1:
        return "; if 255 marks pixels without a label, name it in 'void'"
    return "; correct the mask, or map the values"
