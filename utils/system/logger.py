"""Log of an entry script: the console, beside progress bars, and a file."""

from __future__ import annotations

import copy
import logging
import sys
from collections import deque
from pathlib import Path

from tqdm import tqdm

_KEPT = 1000  # messages kept for a file that is opened later


class _BesideProgressBars(logging.Handler):
    """Handler that writes above a progress bar instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            tqdm.write(self.format(record), file=sys.stderr)
        except (OSError, ValueError):  # the console is closed; the file still gets the line
            self.handleError(record)


class _UntilTheFile(logging.Handler):
    """Handler that keeps the first messages of a program until its log file is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.records: deque[logging.LogRecord] = deque(maxlen=_KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        kept = copy.copy(record)
        kept.msg, kept.args = record.getMessage(), None  # the arguments may be large, and change
        self.records.append(kept)


def log_to_console(level: int = logging.INFO) -> None:
    """Show the messages of the program on standard error; an entry script calls this once."""
    handler = _BesideProgressBars()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=level, handlers=[handler, _UntilTheFile()], force=True)
    logging.raiseExceptions = False


def log_to_file(path: Path) -> logging.Handler:
    """Append the messages of the program to a file, with those since :func:`log_to_console`.

    Returns:
        The handler, which the caller removes.
    """
    root = logging.getLogger()
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for earlier in [handler for handler in root.handlers if isinstance(handler, _UntilTheFile)]:
        for record in earlier.records:
            handler.handle(record)
        root.removeHandler(earlier)
    root.addHandler(handler)
    return handler
