"""Entry of every script: an error that the user can correct ends in one line and a documented exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from utils.errors import ConfigError, SegwrightError


def run(main: Callable[[], int | None], *, debug: bool = False) -> int:
    """Call ``main`` and return the exit code of the process.

    Args:
        main: the work of the script; returns its exit code, or ``None`` for 0.
        debug: raise errors with their traceback.

    Returns:
        0, the exit code of a :class:`SegwrightError`, 2 without memory, 4 for a disk or permission error, 130
        after Ctrl-C.
    """
    try:
        return main() or 0
    except SegwrightError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader of the output, such as `| head`, has ended
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
        if debug or not _is_out_of_memory(error):
            raise  # an error of the program, which needs its traceback
        print(
            "error: out of memory; lower batch_size, crop_size or window, or use fewer workers",
            file=sys.stderr,
        )
        return 2


@contextmanager
def naming(file: str) -> Iterator[None]:
    """Prefix every mistake found in a config file with the name of the file."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{file}: {problem}" for problem in error.problems) from error


def _is_out_of_memory(error: RuntimeError | MemoryError) -> bool:
    of_torch = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)  # GPU, CPU
    return isinstance(error, MemoryError) or of_torch


def _describe(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
