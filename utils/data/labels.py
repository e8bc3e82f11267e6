"""Tables from the raw values or colours of masks to class indices; other values are an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from utils.dataset_info import IGNORE_INDEX
from utils.errors import LabelError

Colour = tuple[int, int, int]

_MOST_VALUES = 256  # that an error carries: a photo in place of a mask holds millions of colours


class LabelTable:
    """Raw mask value -> class index or void; any other value is a mistake in the data.

    Args:
        indices: raw value -> class index, or 255 for void.
        num_classes: number of classes.

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
        """Return the class indices of a raw mask.

        Args:
            mask: (H, W) raw values, any integer type.
            source: the file, for the error.

        Returns:
            (H, W) uint8, 0..num_classes-1 and 255.

        Raises:
            LabelError: a value is neither a class nor void.
        """
        if mask.dtype != np.uint8:
            return self._encode_wide(mask, source)
        if not self._all_legal(mask):
            raise self._error(mask, source)
        return mask if self._identity else cv2.LUT(np.ascontiguousarray(mask), self._table)

    def _all_legal(self, mask: np.ndarray) -> bool:
        if self._span is not None:  # takes a tenth of the time of counting
            return bool((mask + self._shift).max(initial=0) < self._span)
        counts = cv2.calcHist([np.ascontiguousarray(mask)], [0], None, [256], [0, 256]).reshape(-1)
        return not counts[~self._legal].any()

    def _encode_wide(self, mask: np.ndarray, source: str) -> np.ndarray:
        values, inverse = np.unique(mask, return_inverse=True)
        if any(int(value) not in self.indices for value in values):
            raise self._error(mask, source)
        table = np.array([self.indices[int(value)] for value in values], dtype=np.uint8)
        return table[inverse].reshape(mask.shape)

    def _error(self, mask: np.ndarray, source: str) -> LabelError:
        """Return an error with the illegal values, their share, the first pixel and a likely fix."""
        values, counts = (array.tolist() for array in np.unique(mask, return_counts=True))
        bad = {value: count for value, count in zip(values, counts, strict=True) if value not in self.indices}
        row, column = np.argwhere(np.isin(mask, list(bad)))[0].tolist()
        pixels = sum(bad.values())
        shown = ", ".join(map(str, list(bad)[:8])) + (" ..." if len(bad) > 8 else "")
        plural = "s" if len(bad) > 1 else ""
        return LabelError(
            f"{source}: value{plural} {shown} at {100 * pixels / mask.size:.3g} % of its pixels, first at "
            f"row {row}, column {column}; allowed are {self._allowed()}"
            + _likely_fix(set(values), self.num_classes),
            kind="unknown_value",
            paths=[source],
            values=list(bad)[:_MOST_VALUES],
            pixels=pixels,
            share=pixels / mask.size,
            first=(row, column),
            allowed=sorted(self.indices),
        )

    def _allowed(self) -> str:
        """Return the values of classes and of void as text."""
        classes = sorted(value for value, index in self.indices.items() if index != IGNORE_INDEX)
        void = sorted(value for value, index in self.indices.items() if index == IGNORE_INDEX)
        return _ranges(classes) + (f" and {_ranges(void)} (void)" if void else "")


def identity_table(num_classes: int, void_values: Sequence[int] = (IGNORE_INDEX,)) -> LabelTable:
    """Return the table of masks that store class indices."""
    void = {value: IGNORE_INDEX for value in void_values}
    return LabelTable({**{i: i for i in range(num_classes)}, **void}, num_classes)


class ColourTable:
    """Colour of a mask -> class index or void; any other colour is a mistake in the data.

    Args:
        indices: (red, green, blue) -> class index, or 255 for void.
    """

    def __init__(self, indices: Mapping[Colour, int]) -> None:
        codes = sorted((_code(colour), index) for colour, index in indices.items())
        self._codes = np.array([code for code, _ in codes], dtype=np.uint32)
        self._indices = np.array([index for _, index in codes], dtype=np.uint8)

    def encode(self, mask: np.ndarray, source: str) -> np.ndarray:
        """Return the class indices of a colour mask.

        Args:
            mask: (H, W, 3) uint8 RGB.
            source: the file, for the error.

        Returns:
            (H, W) uint8, class indices and 255.

        Raises:
            LabelError: a colour is not in the table.
        """
        planes = mask.astype(np.uint32)
        codes = (planes[..., 0] << 16) | (planes[..., 1] << 8) | planes[..., 2]
        position = np.searchsorted(self._codes, codes).clip(max=len(self._codes) - 1)
        wrong = self._codes[position] != codes
        if wrong.any():
            raise self._error(codes, wrong, source)
        indices: np.ndarray = self._indices[position]
        return indices

    def _error(self, codes: np.ndarray, wrong: np.ndarray, source: str) -> LabelError:
        """Return an error with the share of the ``wrong`` pixels (H, W), and the first of their colours."""
        row, column = np.argwhere(wrong)[0].tolist()
        return LabelError(
            f"{source}: colour {_colour(int(codes[row, column]))} at row {row}, column {column} is not in the "
            f"colour table ({100 * wrong.mean():.3g} % of the pixels have such colours)",
            kind="unknown_colour",
            paths=[source],
            values=[_colour(code) for code in np.unique(codes[wrong])[:_MOST_VALUES].tolist()],
            pixels=int(wrong.sum()),
            share=float(wrong.mean()),
            first=(row, column),
            allowed=[_colour(code) for code in self._codes.tolist()],
        )


def _one_range(legal: np.ndarray) -> tuple[np.uint8, int | None]:
    """Return the number that, added modulo 256, maps the legal values to 0..length-1, and that length.

    In this arithmetic 0..20 and 255 are one range. The length is ``None`` where there are gaps.
    """
    starts = np.flatnonzero(legal & ~np.roll(legal, 1))
    if len(starts) > 1:
        return np.uint8(0), None
    first = int(starts[0]) if len(starts) else 0
    return np.uint8(-first % 256), int(legal.sum())


def _code(colour: Colour) -> int:
    red, green, blue = colour
    return (red << 16) | (green << 8) | blue


def _colour(code: int) -> Colour:
    return code >> 16, code >> 8 & 255, code & 255


def _ranges(values: Sequence[int]) -> str:
    """Return a sorted list of values as text: ``0..20, 255``."""
    parts: list[list[int]] = []
    for value in values:
        if parts and value == parts[-1][1] + 1:
            parts[-1][1] = value
        else:
            parts.append([value, value])
    return ", ".join(str(a) if a == b else f"{a}..{b}" for a, b in parts)


def _likely_fix(values: set[int], num_classes: int) -> str:
    """Return what such values usually mean, and what to do; the text begins with '; '."""
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
