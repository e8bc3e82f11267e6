"""Run-length encoding of binary masks, and the tables of runs that competitions read.

Runs are written as ``start length start length ...``. Competitions differ in the order in which pixels
are numbered (down the columns, or along the rows), in the number of the first pixel, in the columns of
the table, and in the code of an empty mask; :data:`PRESETS` names the usual formats.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Literal

import numpy as np

from utils.dataset_info import DatasetInfo
from utils.errors import ConfigError, DataError
from utils.system.files import readable, write_atomically

Order = Literal["columns", "rows"]


@dataclass(frozen=True)
class RleFormat:
    """Format of a table of runs.

    Attributes:
        order: ``columns`` numbers pixels down the first column, then the next; ``rows`` along the rows.
        base: number of the first pixel, 0 or 1.
        counts: ``runs`` (start and length of each run of ones) or ``lengths`` (lengths of alternating
            runs of zeros and ones, zeros first: the uncompressed form of COCO).
        header: names of the two columns; empty for a table without a header.
        separator: between the columns.
        extension: extension of the names, such as ``.jpg``; ``None`` for names without one.
        empty: code of a mask without any pixel.

    Raises:
        ValueError: a value out of range.
    """

    order: Order = "rows"
    base: int = 1
    counts: Literal["runs", "lengths"] = "runs"
    header: tuple[str, ...] = ("img", "rle_mask")
    separator: str = ","
    extension: str | None = ".jpg"
    empty: str = ""

    def __post_init__(self) -> None:
        if self.order not in ("columns", "rows") or self.base not in (0, 1) or len(self.separator) != 1:
            raise ValueError("order is columns or rows, base 0 or 1, the separator one character")
        if self.separator in '\0\n\r"':
            raise ValueError("the separator can be neither a line break, NUL nor a quotation mark")
        if self.header and len(self.header) != 2:
            raise ValueError("header: two names are expected")


PRESETS = {
    # Datawhale TianChi buildings: name <tab> mask, no header, down the columns
    "tianchi": RleFormat("columns", 1, "runs", (), "\t", ".jpg"),
    # Kaggle Carvana: img,rle_mask, left to right, then top to bottom
    "carvana": RleFormat("rows", 1, "runs", ("img", "rle_mask"), ",", ".jpg"),
    # uncompressed counts of COCO's annotation files
    "coco": RleFormat("columns", 0, "lengths", ("image", "counts"), ",", None),
}


def find_format(preset: str, **changes: object) -> RleFormat:
    """Return a preset with some of its attributes changed; a change to ``None`` is ignored.

    Raises:
        ConfigError: no such preset, or a value out of range.
    """
    if preset not in PRESETS:
        raise ConfigError(f"there is no RLE preset '{preset}'; choose from: {', '.join(PRESETS)}")
    try:
        return replace(PRESETS[preset], **{k: v for k, v in changes.items() if v is not None})  # type: ignore[arg-type]
    except ValueError as error:
        raise ConfigError(f"RLE format: {error}") from None


def encode(mask: np.ndarray, fmt: RleFormat) -> str:
    """Return the runs of ones of a mask.

    Args:
        mask: (H, W) of two values: boolean, or 0 and 1.
        fmt: order, base and kind of counts.

    Raises:
        ValueError: the mask holds another value.
    """
    if mask.ndim != 2 or not (mask.dtype == np.bool_ or np.isin(mask, (0, 1)).all()):
        raise ValueError("a run-length code needs an (H, W) mask of 0 and 1")
    flat = mask.astype(bool).ravel("F" if fmt.order == "columns" else "C")
    borders = np.flatnonzero(np.diff(np.concatenate([[False], flat, [False]])))
    if fmt.counts == "lengths":
        lengths = np.diff(np.concatenate([[0], borders, [flat.size]]))
        return " ".join(map(str, lengths if not borders.size or borders[-1] != flat.size else lengths[:-1]))
    if not borders.size:
        return fmt.empty
    starts, stops = borders[::2], borders[1::2]
    return " ".join(map(str, np.stack([starts + fmt.base, stops - starts], axis=1).ravel()))


def decode(code: str, size: tuple[int, int], fmt: RleFormat) -> np.ndarray:
    """Return the mask of a code: the inverse of :func:`encode`.

    Args:
        code: runs.
        size: (height, width) of the mask.
        fmt: the format of the code.

    Returns:
        (H, W) uint8 of 0 and 1.

    Raises:
        DataError: runs that overlap, touch, are empty, negative, not in pairs, or leave the mask.
    """
    total = size[0] * size[1]
    words = [] if code.strip() == fmt.empty.strip() else code.split()
    try:
        numbers = np.array([int(word) for word in words], dtype=np.int64)
    except (ValueError, OverflowError):
        raise _bad_code("a run-length code holds something that is not a number") from None
    if fmt.counts == "lengths":
        borders = _borders_of_lengths(numbers, total)
    else:
        borders = _borders_of_runs(numbers, total, fmt.base)
    steps = np.zeros(total + 1, dtype=np.int8)
    np.add.at(steps, borders[::2], 1)
    np.add.at(steps, borders[1::2], -1)
    flat = np.cumsum(steps[:-1], dtype=np.int8).astype(np.uint8)
    return np.ascontiguousarray(flat.reshape(size, order="F" if fmt.order == "columns" else "C"))


class RleTable:
    """Table of the runs of one class, one row per image.

    Args:
        path: the file that :meth:`save` writes.
        fmt: format of the table.
        class_index: the class whose pixels are ones.
    """

    def __init__(self, path: str | Path, fmt: RleFormat, class_index: int = 1) -> None:
        self.path = Path(path)
        self.fmt = fmt
        self.class_index = class_index
        self._rows: list[tuple[str, str]] = []

    @classmethod
    def open(cls, path: str, preset: str, class_index: int, info: DatasetInfo) -> RleTable:
        """Return an empty table for the options of a command line.

        Raises:
            ConfigError: no such preset or class.
        """
        if not 0 <= class_index < info.num_classes:
            raise ConfigError(f"--rle-class {class_index}: the classes are 0 to {info.num_classes - 1}")
        return cls(path, find_format(preset), class_index)

    def add(self, name: PurePath, mask: np.ndarray) -> None:
        """Encode one (H, W) mask of class indices."""
        self._rows.append((self._name(name), encode(mask == self.class_index, self.fmt)))

    def sort(self, order: Sequence[str]) -> None:
        """Bring the rows into the order of a sample file.

        Raises:
            DataError: a name has no mask, or a mask has no name.
        """
        rows = dict(self._rows)
        missing, extra = [n for n in order if n not in rows], rows.keys() - set(order)
        if missing or extra:
            raise DataError(
                f"the sample file and the masks differ: {len(missing)} without a mask, {len(extra)} not in the "
                f"sample (first: {(missing or sorted(extra))[0]})",
                kind="unpaired",
            )
        self._rows = [(name, rows[name]) for name in order]

    def save(self) -> None:
        """Write the table atomically.

        Raises:
            StorageError: it cannot be written.
        """
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.fmt.separator, lineterminator="\n")
        if self.fmt.header:
            writer.writerow(self.fmt.header)
        writer.writerows(self._rows)
        write_atomically(self.path, lambda file: file.write(text.getvalue().encode()))

    def _name(self, name: PurePath) -> str:
        stem = name.with_suffix("") if name.suffix else name
        return readable(stem.as_posix()) + (self.fmt.extension or "")


def read_table(path: str | Path, fmt: RleFormat) -> dict[str, str]:
    """Return the codes of a table by name, in its order; no code, or ``NaN``, is an empty mask.

    Raises:
        DataError: the file cannot be read or has other columns.
    """
    rows = _read_rows(Path(path), fmt)
    table: dict[str, str] = {}
    for row in rows[1 if fmt.header else 0 :]:
        if len(row) > 2 or row[0] in table:
            raise DataError(
                f"{path}: {row[0]}: more than two columns, or a second row for the same image",
                kind="duplicate" if row[0] in table else "unsuitable",
                paths=[path],
            )
        code = row[1] if len(row) == 2 else ""
        table[row[0]] = fmt.empty if code.lower() == "nan" else code
    return table


def _read_rows(path: Path, fmt: RleFormat) -> list[list[str]]:
    """Return the rows of a table that are not empty; the first is the header, where the format has one."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        kind: Literal["missing", "unreadable"] = (
            "missing" if isinstance(error, FileNotFoundError) else "unreadable"
        )
        raise DataError(f"{path}: cannot be read: {error}", kind=kind, paths=[path]) from error
    csv.field_size_limit(2**31 - 1)  # the code of a large mask is long
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=fmt.separator) if row]
    if fmt.header and tuple(rows[0] if rows else ()) != fmt.header:
        raise DataError(
            f"{path}: the header is not {fmt.separator.join(fmt.header)}", kind="unsuitable", paths=[path]
        )
    return rows


def _bad_code(message: str) -> DataError:
    return DataError(message, kind="unreadable")


def _borders_of_runs(numbers: np.ndarray, total: int, base: int) -> np.ndarray:
    """Return start and stop of each run, alternating, counted from 0."""
    if len(numbers) % 2:
        raise _bad_code("a run-length code has a start without a length")
    starts, lengths = numbers[::2] - base, numbers[1::2]
    stops = starts + lengths
    outside = (starts < 0) | (starts > total) | (lengths > total) | (stops > total)  # sums may wrap around
    if (lengths < 1).any() or outside.any():
        raise _bad_code(f"a run-length code leaves the mask of {total} pixels or holds an empty run")
    if (starts[1:] <= stops[:-1]).any():
        raise _bad_code("the runs of a run-length code overlap, touch or are out of order")
    return np.stack([starts, stops], axis=1).ravel()


def _borders_of_lengths(lengths: np.ndarray, total: int) -> np.ndarray:
    """Return the same for lengths of alternating runs of zeros and ones."""
    outside = ((lengths < 0) | (lengths > total)).any()  # before the sum, which could wrap around
    if outside or (lengths[1:] == 0).any() or lengths.sum() != total:
        raise _bad_code(f"the lengths of a run-length code do not add up to the mask's {total} pixels")
    borders = np.cumsum(lengths)
    return borders if len(borders) % 2 == 0 else borders[:-1]
