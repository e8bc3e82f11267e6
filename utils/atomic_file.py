"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


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
