"""Lock of a run folder: one process at a time trains in it, on every operating system."""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from utils.errors import StorageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

_HOLDER = ".lock-holder"
_HELD = (errno.EACCES, errno.EAGAIN)  # POSIX allows either


class _Unsupported(Exception):
    """The file system or this Python cannot lock files."""


def lock_folder(folder: Path) -> Callable[[], None]:
    """Lock a folder until the process ends or the returned function is called.

    Where files cannot be locked at all, a warning says so and the folder is used without a lock.

    Args:
        folder: an existing folder; ``.lock`` is created in it, and ``.lock-holder``, which names the process.

    Returns:
        A function that releases the lock.

    Raises:
        StorageError: another process holds the lock, or the folder cannot be written.
    """
    path = folder / ".lock"
    try:
        release = _lock_portably(path) if fcntl is None else _lock_record(path)
    except BlockingIOError:
        raise StorageError(f"{folder}: another process is training in this folder{_holder(folder)}") from None
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written ({error.strerror})") from error
    except _Unsupported as error:
        logger.warning("%s: is not locked (%s); do not train in it twice at a time", folder, error)
        return lambda: None
    _name_holder(folder)
    return release


def _name_holder(folder: Path) -> None:
    """Write which process holds the lock, in a file of its own: others cannot read a locked file on Windows."""
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    with suppress(OSError):  # the lock holds without it
        text = f"process {os.getpid()} on {socket.gethostname()}, since {since}"
        (folder / _HOLDER).write_text(text, encoding="utf-8")


def _holder(folder: Path) -> str:
    """Return ``: process PID on HOST, since TIME``; empty where the file of the holder cannot be read."""
    try:
        text = (folder / _HOLDER).read_text(encoding="utf-8", errors="backslashreplace").strip()
    except OSError:
        return ""
    return f": {text[:200]}" if text.isprintable() and text else ""


def _lock_record(path: Path) -> Callable[[], None]:
    """Lock by POSIX record locks.

    They belong to one process alone, so workers that outlive a killed run hold none.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        if error.errno in _HELD:
            raise BlockingIOError from None
        raise _Unsupported(error.strerror) from error
    return lambda: os.close(file)


def _lock_portably(path: Path) -> Callable[[], None]:
    """Lock by ``filelock``, a dependency of torch."""
    try:
        from filelock import FileLock, Timeout
    except ImportError as error:
        raise _Unsupported("neither fcntl nor filelock is installed") from error
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BlockingIOError from None
    except NotImplementedError as error:
        raise _Unsupported(str(error)) from error
    return lock.release
