"""The work of a loader's workers: one cv2 thread each, samples collated into batches, errors as values."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol

import cv2
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from base.sample import SampleKey
from utils.data.batch import Batch, LabelledImage
from utils.dataset_info import IGNORE_INDEX
from utils.errors import SegwrightError, StorageError
from utils.system.allocator import keep_freed_memory
from utils.system.cli import describe_os_error


class Batches(Protocol):
    """A data set that returns the samples of a batch."""

    def __getitems__(self, keys: Sequence[SampleKey]) -> list[LabelledImage]: ...


@contextmanager
def one_cv2_thread() -> Iterator[None]:
    """Limit cv2 to one thread: images are small and workers are many, so that more would only wait."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def collate(items: Sequence[LabelledImage], fill: tuple[int, ...]) -> Batch:
    """Copy samples into one batch; in a worker process, into memory shared with the main process.

    Args:
        items: the samples.
        fill: colour of the padding of images of different sizes, one value of 0..255 per channel.

    Returns:
        Images and targets of the size of the highest and of the widest sample, padded with ``fill`` and void.
    """
    height = max(item.label.shape[0] for item in items)
    width = max(item.label.shape[1] for item in items)
    images = _empty(len(items), height, width, len(fill))
    target = _empty(len(items), height, width)
    pixels, classes = images.numpy(), target.numpy()
    for row, item in enumerate(items):
        h, w = item.label.shape
        if (h, w) != (height, width):
            pixels[row] = fill
            classes[row] = IGNORE_INDEX
        pixels[row, :h, :w] = item.image
        classes[row, :h, :w] = item.label
    return Batch(images, target, tuple(item.image_id for item in items))


class Collate:
    """:func:`collate` as the loader calls it; lets errors of a worker pass."""

    def __init__(self, fill: tuple[int, ...]) -> None:
        self._fill = fill

    def __call__(self, items: Sequence[LabelledImage] | SegwrightError) -> Batch | SegwrightError:
        return items if isinstance(items, SegwrightError) else collate(items, self._fill)


class _Guarded:
    """Returns errors as values, so that they reach the main process unchanged, not inside torch's traceback."""

    def __init__(self, dataset: Batches) -> None:
        self._load = dataset.__getitems__

    def __call__(self, keys: Sequence[SampleKey]) -> list[LabelledImage] | SegwrightError:
        try:
            return self._load(keys)
        except SegwrightError as error:
            return error.with_traceback(None)
        except OSError as error:  # torch would raise it again with a traceback for its message
            return StorageError(describe_os_error(error))


def start_worker(number: int) -> None:
    """Set up a worker process: ignore Ctrl-C, end on SIGTERM, use one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.excepthook = _report_unless_alone
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    keep_freed_memory()  # decoders allocate the same few megabytes for every image
    info = get_worker_info()
    assert info is not None
    dataset: Any = info.dataset
    dataset.__getitems__ = _Guarded(dataset)


def _report_unless_alone(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Say nothing of a connection that the main process closed: it ended, and has printed why."""
    if not isinstance(error, (ConnectionError, EOFError)):
        sys.__excepthook__(kind, error, trace)


def _empty(*shape: int) -> Tensor:
    tensor = torch.empty(shape, dtype=torch.uint8)
    if get_worker_info() is not None:
        tensor.share_memory_()  # type: ignore[no-untyped-call]
    return tensor
