"""Single-threaded torch operations in several threads: many small ones run side by side, none is split.

An operation that torch splits between threads ends with a barrier. Thousands of short operations spend more time
at their barriers than at work, and on a busy machine each of them waits for a thread that is not running.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

Item = TypeVar("Item")


def map_single_threaded(work: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Call ``work`` for every item, in as many threads as torch uses; no call uses more than one.

    The threads are in inference mode. Where torch uses one thread, the calls run in the calling thread.

    Args:
        work: called in any order and at the same time; an exception ends the map and is raised here.
        items: what ``work`` is called with.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        for item in items:
            work(item)
        return

    waiting = deque(items)

    def drain(_: int) -> None:
        with torch.inference_mode():  # the mode belongs to a thread, so every worker enters it
            while waiting:
                try:
                    item = waiting.popleft()
                except IndexError:  # another thread took the last item
                    return
                work(item)

    for _ in _pool(threads).map(drain, range(threads)):  # iterating raises what a worker raised
        pass


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Worker threads that are started once and kept, as torch keeps its own."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="single")
    all_started = threading.Barrier(threads)

    def start(_: int) -> None:
        # torch initialises its thread count on the first call in a new thread, so make that call before setting it
        torch.get_num_threads()
        torch.set_num_threads(1)
        all_started.wait()

    list(pool.map(start, range(threads)))
    # restore the default for threads created later, which the workers' calls changed
    torch.set_num_threads(threads)
    return pool
