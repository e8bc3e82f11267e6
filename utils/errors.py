"""The errors that users meet, each with the process exit code that it ends in."""

from __future__ import annotations

from collections.abc import Iterable


class SegwrightError(Exception):
    """A mistake that a person can mend; printed as text, without a traceback."""

    exit_code = 2


class ConfigError(SegwrightError):
    """The config or the command line is wrong. Holds one message per mistake."""

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class DataError(SegwrightError):
    """A file of a data set is missing, unreadable, or does not fit its partner."""


class LabelError(DataError):
    """A mask holds a value that is neither a class nor void."""


class CheckpointError(SegwrightError):
    """A checkpoint is missing, damaged, hostile, or of another architecture."""


class ExportError(SegwrightError):
    """A model cannot be exported, or the exported one is not equal to it."""


class NonFiniteError(SegwrightError):
    """The loss became NaN or infinite; the weights have not been touched by it."""

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
        self.exit_code = 128 + signal_number
