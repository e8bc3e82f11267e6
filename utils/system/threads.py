"""Prepares batches in threads of this process, in order, a few ahead of who takes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from utils.errors import SegwrightError, StorageError

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


Item = TypeVar("Item")
_AHEAD = 2  # images that wait on either side of the network, so that memory stays bounded


def run_overlapped(
    items: Iterable[Item],
    read: Callable[[Item], Any],
    work: Callable[[Item, Any], Any],
    write: Callable[[Item, Any], None],
    fail: Callable[[Item, SegwrightError], None],
    readers: int = 1,
) -> None:
    """Process items in order; reading and writing have threads of their own.

    Args:
        items: what to process.
        read: called in a reading thread.
        work: called here with what was read.
        write: called in the writing thread with what ``work`` returned, in the order of the items.
        fail: told of an item that could not be read or worked on; the others go on.
        readers: number of reading threads.

    Raises:
        StorageError: a result could not be written; nothing more is started.
    """
    with ThreadPoolExecutor(readers) as reader, ThreadPoolExecutor(1) as writer:
        waiting: deque[tuple[Item, Future]] = deque()
        written: deque[Future] = deque()
        source = iter(items)
        try:
            while True:
                while len(waiting) < _AHEAD + readers - 1 and (item := next(source, None)) is not None:
                    waiting.append((item, reader.submit(read, item)))
                if not waiting:
                    break
                item, pending = waiting.popleft()
                try:
                    result = work(item, pending.result())
                except StorageError:
                    raise
                except SegwrightError as error:
                    fail(item, error)
                    continue
                written.append(writer.submit(write, item, result))
                while len(written) > _AHEAD:
                    written.popleft().result()
            for pending in written:
                pending.result()
        finally:
            for _, pending in waiting:
                pending.cancel()
