"""Errors that users can mend, each with the exit code of the process that it ends."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

DataErrorKind = Literal[
    "missing",  # no such file or folder
    "unreadable",  # empty, damaged, or of an unknown format
    "too_large",  # more pixels than are decoded
    "unsuitable",  # readable, but of a type, value range or number of channels that cannot be used
    "colour_mask",  # a mask of colours where class indices are expected
    "jpeg_mask",  # a mask whose values the compression has changed
    "unknown_value",  # a mask value that is neither a class nor void
    "unknown_colour",  # a mask colour that is not in the table of the data set
    "unpaired",  # an image without a mask
    "duplicate",  # two files, or two rows of a table, with the same name
    "size_mismatch",  # an image and a mask of different sizes
    "other",
]

_DataError = TypeVar("_DataError", bound="DataError")


class SegwrightError(Exception):
    """A mistake that a person can mend; printed as text, without a traceback.

    The message is for people only. Programs read the class, and the attributes of those that have some;
    these survive pickling, so that an error of a worker process arrives as it was raised.
    """

    exit_code = 2


class ConfigError(SegwrightError):
    """Mistakes of a config or a command line.

    Attributes:
        problems: one message per mistake.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class DataError(SegwrightError):
    """A file of a data set is missing, unreadable, or does not fit its partner.

    Attributes:
        kind: the mistake, for programs.
        paths: the files and folders concerned; empty where the error is raised by code that is given
            no path.
    """

    def __init__(
        self, message: str, *, kind: DataErrorKind = "other", paths: Iterable[str | Path] = ()
    ) -> None:
        super().__init__(message)
        self.kind: DataErrorKind = kind
        self.paths = tuple(map(Path, paths))

    def at(self: _DataError, path: str | Path) -> _DataError:
        """Return the same error, facts included, with ``path`` before the message and in ``paths``."""
        located = copy.copy(self)
        located.args = (f"{path}: {self}",)
        located.paths = (Path(path), *self.paths)
        return located


class LabelError(DataError):
    """A mask holds values or colours that are neither a class nor void.

    Attributes:
        kind: ``unknown_value`` or ``unknown_colour``.
        values: those values, or (red, green, blue) colours, ascending; 256 at most.
        pixels: number of pixels that hold one of them.
        share: the same as a share of the mask, 0..1.
        first: (row, column) of the first such pixel.
        allowed: the values or colours that are allowed.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: DataErrorKind = "unknown_value",
        paths: Iterable[str | Path] = (),
        values: Sequence[Any] = (),
        pixels: int = 0,
        share: float = 0.0,
        first: tuple[int, int] | None = None,
        allowed: Sequence[Any] = (),
    ) -> None:
        super().__init__(message, kind=kind, paths=paths)
        self.values = tuple(values)
        self.pixels = pixels
        self.share = share
        self.first = first
        self.allowed = tuple(allowed)


class CheckpointError(SegwrightError):
    """A checkpoint is missing, damaged, hostile, or of another architecture."""


class ExportError(SegwrightError):
    """A model cannot be exported, or the exported one does not equal it."""


class NonFiniteError(SegwrightError):
    """The loss became NaN or infinite, before it changed the weights."""

    exit_code = 3


class StorageError(SegwrightError):
    """The disk is full, or a folder cannot be written."""

    exit_code = 4


class Interrupted(SegwrightError):
    """A signal stopped the run after its state was saved; it can be resumed.

    Args:
        signal_number: the signal received; the exit code is 128 + this number.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number

    def __reduce__(self) -> tuple[type[Interrupted], tuple[str, int]]:
        return type(self), (str(self), self.signal_number)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message that is not blank; else the name of its class."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)
