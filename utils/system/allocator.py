"""A setting of the C allocator that keeps the memory freed by one training step for the next.

By default glibc returns every large block to the kernel, which hands it back zeroed, one page fault per 4 KB.
On a CPU this takes a large part of a training step. Peak memory is the same; the process only does not shrink
between two steps.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc to serve large blocks from one heap and not to trim it.

    All threads share that heap, because the heaps of other threads are returned to the kernel whenever they
    are empty.

    Returns:
        True if the setting took effect; False on any system but Linux with glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER), (_M_TOP_PAD, 64 * 2**20), (_M_ARENA_MAX, 1))
    return all(mallopt(option, value) for option, value in settings)


def return_freed_memory() -> None:
    """Tell glibc to return all freed memory to the kernel, once, so that what is in use can be measured."""
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)
