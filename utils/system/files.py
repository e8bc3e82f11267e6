"""Atomic writes: a file appears under its name only when it is complete."""

from __future__ import annotations

import functools
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from utils.errors import StorageError

_TEMPORARY = re.compile(r"\.[0-9a-f]{8}\.(\d+)\.\w+")  # a name of replacing: random, process, suffix


def readable(name: str) -> str:
    """Return a file name as text: bytes that are not UTF-8 as ``\\xff``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


@contextmanager
def replacing(path: Path, suffix: str = ".tmp") -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it replaces ``path`` after the block, or is deleted on an error.

    Args:
        path: file to replace, in one step.
        suffix: end of the temporary name, for writers that choose a format by it.

    The first file in a folder also removes what killed processes left there.

    Raises:
        OSError: the file cannot be renamed.
    """
    # random, because the name of ``path`` may already have the maximum length; the process id lets a later run
    # remove what a killed one left
    _sweep_once(path.parent)
    temporary = path.parent / f".{secrets.token_hex(4)}.{os.getpid()}{suffix}"
    try:
        yield temporary
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, min_age: float = 0) -> None:
    """Delete the temporary files in a folder of processes that no longer run.

    Args:
        folder: searched without its subfolders.
        min_age: seconds since the last change of a file; keeps what a process on another machine is writing.
    """
    for temporary in folder.glob(".*.*.*"):
        match = _TEMPORARY.fullmatch(temporary.name)
        with suppress(OSError):
            if match and not _runs(match[1]) and time.time() - temporary.stat().st_mtime >= min_age:
                temporary.unlink(missing_ok=True)


@functools.lru_cache(maxsize=4096)
def _sweep_once(folder: Path) -> None:
    remove_leftovers(folder, min_age=60)


def _runs(process: str) -> bool:
    """Return whether a process of this id runs on this machine."""
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def write_atomically(path: Path, save: Callable[[BinaryIO], object]) -> None:
    """Write a file atomically, and create its folder where it is missing.

    Args:
        path: file to create or replace.
        save: writes the content to the open file that it is given.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            save(file)
    except OSError as error:
        raise StorageError(f"{path}: could not be written ({error.strerror or error})") from error
