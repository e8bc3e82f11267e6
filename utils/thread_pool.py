"""Prepares batches in threads of this process, in order, a few ahead of who takes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


def map_ahead(work: Callable[[Key], Value], keys: Iterable[Key], threads: int, ahead: int) -> Iterator[Value]:
    """``map(work, keys)`` with ``threads`` at work and up to ``ahead`` results waiting.

    Leaving the iteration early cancels what has not begun and waits for what has. An exception of
    ``work`` is raised where its result would have been yielded.
    """
    remaining = iter(keys)
    pending: deque[Future[Value]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="data")
    try:
        for key in remaining:
            pending.append(pool.submit(work, key))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
