"""Log of an entry script: the console, beside progress bars, and a file."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from tqdm import tqdm


class _BesideProgressBars(logging.Handler):
    """Handler that writes above a progress bar instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            tqdm.write(self.format(record), file=sys.stderr)
        except (OSError, ValueError):  # the console is closed; the file still gets the line
            self.handleError(record)


def log_to_console(level: int = logging.INFO) -> None:
    """Show the messages of the program on standard error; an entry script calls this once."""
    handler = _BesideProgressBars()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.raiseExceptions = False


def log_to_file(path: Path) -> logging.Handler:
    """Append the messages of the program to a file.

    Returns:
        The handler, which the caller removes.
    """
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)
    return handler
