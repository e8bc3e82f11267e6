"""Threads in which torch works alone: many small operations are shared out whole, not each one in parts.

An operation that several threads share ends with a barrier. Thousands of short ones spend more time there than
in their work, and on a machine that is busy otherwise each waits for a thread that is not running.
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


def for_each(work: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Call ``work`` for every item, in as many threads as torch uses; in this one if that is one.

    Gradients are off. The calls must not depend on each other's order.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        for item in items:
            work(item)
        return

    waiting = deque(items)

    def drain(_: int) -> None:
        with torch.inference_mode():  # a setting of each thread
            while waiting:
                try:
                    item = waiting.popleft()
                except IndexError:  # another thread was faster
                    return
                work(item)

    for _ in _pool(threads).map(drain, range(threads)):  # raises what a call raised
        pass


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that are started once and kept, as torch's own are."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="serial")
    together = threading.Barrier(threads)

    def start(_: int) -> None:
        torch.get_num_threads()  # the first question in a thread would set the number anew
        torch.set_num_threads(1)  # of this thread, and of those that torch meets from now on
        together.wait()

    list(pool.map(start, range(threads)))
    torch.set_num_threads(threads)  # takes back what the others said of threads yet to come
    return pool
