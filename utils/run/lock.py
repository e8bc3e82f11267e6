"""Lock of a run folder: one process at a time trains in it, on every operating system."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

from utils.errors import StorageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

_HELD = (errno.EACCES, errno.EAGAIN)  # POSIX allows either


class _Unsupported(Exception):
    """The file system or this Python cannot lock files."""


def lock_folder(folder: Path) -> Callable[[], None]:
    """Lock a folder until the process ends or the returned function is called.

    Where files cannot be locked at all, a warning says so and the folder is used without a lock.

    Args:
        folder: an existing folder; ``.lock`` is created in it.

    Returns:
        A function that releases the lock.

    Raises:
        StorageError: another process holds the lock, or the folder cannot be written.
    """
    path = folder / ".lock"
    try:
        return _lock_portably(path) if fcntl is None else _lock_record(path)
    except BlockingIOError:
        raise StorageError(f"{folder}: another process is training in this folder") from None
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written ({error.strerror})") from error
    except _Unsupported as error:
        logger.warning("%s: is not locked (%s); do not train in it twice at a time", folder, error)
        return lambda: None


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
