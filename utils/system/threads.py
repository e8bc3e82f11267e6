"""Work in threads of this process, in the order of the input and a few items ahead of the consumer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TypeVar

from utils.errors import SegwrightError, StorageError

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")
Result = TypeVar("Result")
_UNWRITTEN = 2  # results that may wait for the writing thread, so that memory stays bounded


def map_ahead(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int
) -> Generator[Result, None, None]:
    """Compute ``map(work, items)`` in ``threads`` threads, with up to ``ahead`` results waiting.

    Closing the iterator cancels the calls that have not begun and waits for those that have. An exception of
    ``work`` is raised in place of its result.
    """
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="data")
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def run_overlapped(
    items: Iterable[Item],
    read: Callable[[Item], Loaded],
    work: Callable[[Item, Loaded], Result],
    write: Callable[[Item, Result], None],
    fail: Callable[[Item, SegwrightError], None],
    readers: int = 1,
) -> None:
    """Process items in order, with threads of their own for reading and writing.

    Args:
        items: the input, in order.
        read: called in a reading thread.
        work: called in this thread with the result of ``read``.
        write: called in the writing thread with the result of ``work``, in the order of the items.
        fail: called in this thread for an item on which ``read`` or ``work`` failed; the others go on.
        readers: number of reading threads.

    Raises:
        StorageError: a result could not be written; no further item is started.
    """
    written: deque[Future[None]] = deque()
    reading = map_ahead(partial(_attempt, read), items, readers, ahead=readers)
    with ThreadPoolExecutor(1) as writer, closing(reading):
        for item, loaded in reading:
            try:
                if isinstance(loaded, SegwrightError):
                    raise loaded
                result = work(item, loaded)
            except StorageError:
                raise
            except SegwrightError as error:
                fail(item, error)
                continue
            written.append(writer.submit(write, item, result))
            while len(written) > _UNWRITTEN:
                written.popleft().result()
        for pending in written:
            pending.result()


def _attempt(read: Callable[[Item], Loaded], item: Item) -> tuple[Item, Loaded | SegwrightError]:
    try:
        return item, read(item)
    except SegwrightError as error:  # for ``fail``, in the thread of the caller
        return item, error
