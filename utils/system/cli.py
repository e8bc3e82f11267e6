"""Runs an entry script: errors that people can mend end in one line and a documented exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from utils.errors import ConfigError, SegwrightError


def run(main: Callable[[], int | None], *, debug: bool = False) -> int:
    """Call ``main`` and return the exit code of the process.

    Args:
        main: the script's work; returns its exit code, ``None`` for 0.
        debug: let errors through with their traceback.
    """
    try:
        return main() or 0
    except SegwrightError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader of our output has gone: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        if debug:
            raise
        print("interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        if debug:
            raise
        print(f"error: {_describe(error)}", file=sys.stderr)
        return 4
    except (RuntimeError, MemoryError) as error:
        if debug or not (isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"):
            raise  # a fault of the program deserves its traceback
        print(
            "error: out of memory; lower batch_size, crop_size or window, or use fewer workers",
            file=sys.stderr,
        )
        return 2


@contextmanager
def naming(file: str) -> Iterator[None]:
    """Put the name of the config file before every mistake found in it."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{file}: {problem}" for problem in error.problems) from error


def _describe(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
