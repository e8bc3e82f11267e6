"""Run-length encoding of binary masks, and the tables of runs that competitions read.

Runs are written as ``start length start length ...``. Competitions differ in the order in which pixels
are numbered (down the columns, or along the rows), in the number of the first pixel, in the columns of
the table, and in what stands for an empty mask; :data:`PRESETS` names the usual ones.
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
from utils.system.files import write_atomically

Order = Literal["columns", "rows"]


@dataclass(frozen=True)
class RleFormat:
    """How a table of runs is written.

    Attributes:
        order: ``columns`` numbers pixels down the first column, then the next; ``rows`` along the rows.
        base: number of the first pixel, 0 or 1.
        counts: ``runs`` (start and length of each run of ones) or ``lengths`` (lengths of alternating
            runs of zeros and ones, zeros first: the uncompressed form of COCO).
        header: names of the two columns; empty for a table without a header.
        separator: between the columns.
        extension: whether names keep their ending; a replacement such as ``.jpg``; ``None`` drops it.
        empty: what stands for a mask without any pixel.
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


def encode(mask: np.ndarray, form: RleFormat) -> str:
    """Runs of ones of a mask.

    Args:
        mask: (H, W) of two values: boolean, or 0 and 1.
        form: order, base and kind of counts.

    Raises:
        ValueError: the mask holds another value.
    """
    if mask.ndim != 2 or not (mask.dtype == np.bool_ or np.isin(mask, (0, 1)).all()):
        raise ValueError("a run-length code needs an (H, W) mask of 0 and 1")
    flat = mask.astype(bool).ravel("F" if form.order == "columns" else "C")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat, [False]])))
    if form.counts == "lengths":
        lengths = np.diff(np.concatenate([[0], edges, [flat.size]]))
        return " ".join(map(str, lengths if not edges.size or edges[-1] != flat.size else lengths[:-1]))
    if not edges.size:
        return form.empty
    starts, stops = edges[::2], edges[1::2]
    return " ".join(map(str, np.stack([starts + form.base, stops - starts], axis=1).ravel()))


def decode(code: str, size: tuple[int, int], form: RleFormat) -> np.ndarray:
    """The inverse of :func:`encode`.

    Args:
        code: runs.
        size: (height, width) of the mask.
        form: as the code was written.

    Returns:
        (H, W) uint8 of 0 and 1.

    Raises:
        DataError: runs that overlap, touch, are empty, negative, not in pairs, or leave the mask.
    """
    total = size[0] * size[1]
    words = [] if code.strip() == form.empty.strip() else code.split()
    try:
        numbers = np.array([int(word) for word in words], dtype=np.int64)
    except (ValueError, OverflowError):
        raise DataError("a run-length code holds something that is no number") from None
    if form.counts == "lengths":
        edges = _edges_of_lengths(numbers, total)
    else:
        edges = _edges_of_runs(numbers, total, form.base)
    steps = np.zeros(total + 1, dtype=np.int8)
    np.add.at(steps, edges[::2], 1)
    np.add.at(steps, edges[1::2], -1)
    flat = np.cumsum(steps[:-1], dtype=np.int8).astype(np.uint8)
    return np.ascontiguousarray(flat.reshape(size, order="F" if form.order == "columns" else "C"))


def _edges_of_runs(numbers: np.ndarray, total: int, base: int) -> np.ndarray:
    if len(numbers) % 2:
        raise DataError("a run-length code has a start without a length")
    starts, lengths = numbers[::2] - base, numbers[1::2]
    stops = starts + lengths
    if (lengths < 1).any() or (starts < 0).any() or (stops > total).any():
        raise DataError(f"a run-length code leaves the mask of {total} pixels or holds an empty run")
    if (starts[1:] <= stops[:-1]).any():
        raise DataError("the runs of a run-length code overlap, touch or are out of order")
    return np.stack([starts, stops], axis=1).ravel()


def _edges_of_lengths(lengths: np.ndarray, total: int) -> np.ndarray:
    if (lengths < 0).any() or (lengths[1:] == 0).any() or lengths.sum() != total:
        raise DataError(f"the lengths of a run-length code do not add up to the mask's {total} pixels")
    edges = np.cumsum(lengths)
    return edges if len(edges) % 2 == 0 else edges[:-1]


class RleTable:
    """Collects the runs of one class, one row per image.

    Args:
        path: the file that :meth:`save` writes.
        form: how.
        class_index: the class whose pixels are ones.
    """

    def __init__(self, path: str | Path, form: RleFormat, class_index: int = 1) -> None:
        self.path = Path(path)
        self.form = form
        self.class_index = class_index
        self._rows: list[tuple[str, str]] = []

    @classmethod
    def open(cls, path: str, preset: str, class_index: int, info: DatasetInfo) -> RleTable:
        """A table as a command line asks for it.

        Raises:
            ConfigError: no such preset or class.
        """
        if not 0 <= class_index < info.num_classes:
            raise ConfigError(f"--rle-class {class_index}: the classes are 0 to {info.num_classes - 1}")
        return cls(path, find_format(preset), class_index)

    def add(self, name: PurePath, mask: np.ndarray) -> None:
        """Encode one (H, W) mask of class indices."""
        self._rows.append((self._name(name), encode(mask == self.class_index, self.form)))

    def sort(self, order: Sequence[str]) -> None:
        """Bring the rows into the order of a sample file.

        Raises:
            DataError: a name has no mask, or a mask no name.
        """
        rows = dict(self._rows)
        missing, extra = [n for n in order if n not in rows], rows.keys() - set(order)
        if missing or extra:
            raise DataError(
                f"the sample file and the masks differ: {len(missing)} without a mask, {len(extra)} not in the "
                f"sample (first: {(missing or sorted(extra))[0]})"
            )
        self._rows = [(name, rows[name]) for name in order]

    def save(self) -> None:
        """Write the table, whole or not at all.

        Raises:
            StorageError: it cannot be written.
        """
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.form.separator, lineterminator="\n")
        if self.form.header:
            writer.writerow(self.form.header)
        writer.writerows(self._rows)
        write_atomically(self.path, lambda file: file.write(text.getvalue().encode()))

    def _name(self, name: PurePath) -> str:
        stem = name.with_suffix("") if name.suffix else name
        return stem.as_posix() + (self.form.extension or "")


def read_table(path: str | Path, form: RleFormat) -> dict[str, str]:
    """Names and codes of a table, in its order; a code may be missing (``NaN`` or nothing): empty.

    Raises:
        DataError: the file cannot be read or has other columns.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    csv.field_size_limit(2**31 - 1)  # a large mask has a long code
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=form.separator) if row]
    if form.header and tuple(rows[0] if rows else ()) != form.header:
        raise DataError(f"{path}: the header is not {form.separator.join(form.header)}")
    table: dict[str, str] = {}
    for row in rows[1 if form.header else 0 :]:
        if len(row) > 2 or row[0] in table:
            raise DataError(f"{path}: {row[0]}: more than two columns, or a second row for the same image")
        code = row[1] if len(row) == 2 else ""
        table[row[0]] = form.empty if code.lower() == "nan" else code
    return table


def find_format(preset: str, **changes: object) -> RleFormat:
    """A preset with some of its attributes changed.

    Raises:
        ConfigError: no such preset, or a value out of range.
    """
    if preset not in PRESETS:
        raise ConfigError(f"there is no RLE preset '{preset}'; choose from: {', '.join(PRESETS)}")
    try:
        return replace(PRESETS[preset], **{k: v for k, v in changes.items() if v is not None})  # type: ignore[arg-type]
    except ValueError as error:
        raise ConfigError(f"RLE format: {error}") from None
