"""Entry of every script: an error that the user can correct ends in one line and a documented exit code."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from utils.errors import ConfigError, SegwrightError

WORKER_DIED = "a worker process that prepares data died (killed, or out of memory); lower num_workers"
_HUNG_UP = 129  # exit code after SIGHUP


def _escape_output() -> None:
    """Let names of bytes that are not UTF-8 be printed."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _wait_passively() -> None:
    """Let idle threads of OpenMP sleep; torch must not be imported yet.

    By default they spin between two parallel loops. Where another program needs the cores, that slows a training
    to a fifth; on an idle machine sleeping costs nothing measurable.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def make_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of a script; it has ``--version``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *rest: object) -> None:
        project = Path(__file__).resolve().parents[2] / "pyproject.toml"
        match = re.search(r'^version = "(.+)"', project.read_text(encoding="utf-8"), re.MULTILINE)
        print(f"Segwright {match[1] if match else 'of unknown version'}")
        parser.exit()


def run(main: Callable[[], int | None], *, debug: bool = False) -> int:
    """Call ``main`` and return the exit code of the process.

    Args:
        main: the work of the script; returns its exit code, or ``None`` for 0.
        debug: raise errors with their traceback.

    Returns:
        0, the exit code of a :class:`SegwrightError`, 2 without memory, 4 for a disk or permission error, 130
        after Ctrl-C.
    """
    _escape_output()
    _wait_passively()
    streams = sys.stdout, sys.stderr
    terminals = [stream for stream in streams if _is_terminal(stream)]
    code = None
    try:
        code = _run(main, debug)
        return code
    finally:
        for stream in streams:
            # a terminal that hung up fails at the next write only, such as that of a progress bar at exit
            _detach_if_dead(stream, dead=code == _HUNG_UP and stream in terminals)


def _run(main: Callable[[], int | None], debug: bool) -> int:
    try:
        return main() or 0
    except SegwrightError as error:
        if debug:
            raise
        _print_error(f"error: {error}")
        return error.exit_code
    except BrokenPipeError:  # the reader of the output, such as `| head`, has ended
        _detach_if_dead(sys.stdout)
        return 0
    except KeyboardInterrupt:
        if debug:
            raise
        _print_error("interrupted")
        return 130
    except OSError as error:
        if debug:
            raise
        _print_error(f"error: {describe_os_error(error)}")
        return 4
    except (RuntimeError, MemoryError) as error:
        message = _remedy(error)
        if debug or message is None:
            raise  # an error of the program, which needs its traceback
        _print_error(f"error: {message}")
        return 2


def _print_error(message: str) -> None:
    with suppress(OSError, ValueError):  # a closed terminal must not change the exit code
        print(message, file=sys.stderr)


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def _detach_if_dead(stream: TextIO, dead: bool = False) -> None:
    """Direct a stream whose reader or terminal has gone to the null device; else Python would exit with 120."""
    try:
        stream.flush()
    except (OSError, ValueError):
        dead = True
    if dead:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def naming(file: str) -> Iterator[None]:
    """Prefix every mistake found in a config file with the name of the file."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{file}: {problem}" for problem in error.problems) from error


def require_ranges(args: argparse.Namespace, **bounds: tuple[float, float]) -> None:
    """Refuse numbers of a command line that are out of range; ``None`` is in every range.

    Args:
        args: the command line; an option may be one number or several.
        bounds: (lowest, highest) allowed number by the name of the option in ``args``.

    Raises:
        ConfigError: with one line for each option.
    """
    problems = []
    for name, (low, high) in bounds.items():
        value = getattr(args, name)
        numbers = value if isinstance(value, (list, tuple)) else [value]
        wrong = [number for number in numbers if number is not None and not low <= number <= high]
        if wrong:
            given = str(wrong[0])[:40]
            problems.append(f"--{name.replace('_', '-')} {given}: between {low:g} and {high:g} is expected")
    if problems:
        raise ConfigError(problems)


def _remedy(error: RuntimeError | MemoryError) -> str | None:
    """Return what the user can do about an error of the machine; ``None`` for an error of the program."""
    # raised by torch from a signal handler: in the middle of whatever the process is doing
    if str(error).startswith("DataLoader worker (pid"):
        return WORKER_DIED
    if is_out_of_memory(error):
        return "out of memory; lower batch_size, crop_size or window, or use fewer workers"
    return None


def is_out_of_memory(error: RuntimeError | MemoryError) -> bool:
    """Return whether an error of torch or Python says that an allocation failed."""
    of_torch = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)  # GPU, CPU
    return isinstance(error, MemoryError) or of_torch


def describe_os_error(error: OSError) -> str:
    """Return the file and the reason of an error of the operating system."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
