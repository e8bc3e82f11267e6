"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from utils.errors import StorageError


@contextmanager
def replacing(path: Path, suffix: str = ".tmp") -> Iterator[Path]:
    """A name beside ``path`` to write to: it becomes ``path`` if the block ends well, and is deleted if not.

    Args:
        path: what is replaced, in one step.
        suffix: how the other name ends, for writers that go by that.

    Raises:
        OSError: the file cannot be renamed.
    """
    # not made from the file's name, which may be as long as a name can be; the second part is the process,
    # by which a later one can tell what a killed one left behind
    temporary = path.parent / f".{secrets.token_hex(4)}.{os.getpid()}{suffix}"
    try:
        yield temporary
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, save: Callable[[BinaryIO], object]) -> None:
    """Let ``save`` write a file that appears under its name only when it is whole.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            save(file)
    except OSError as error:
        raise StorageError(f"{path}: could not be written ({error.strerror or error})") from error
