"""Makes a data set and delivers it in batches: seeded, restorable, the same for any number of workers."""

from __future__ import annotations

import inspect
import signal
from abc import ABC
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from base.base_dataset import BaseDataSet, SampleKey
from utils.config.annotations import NonNegativeFloat, NonNegativeInt, PositiveInt
from utils.config.factory import merged_parameters
from utils.data.batch import Batch, LabelledImage
from utils.data.sampler import EpochBatches
from utils.data.splits import split_groups
from utils.dataset_info import IGNORE_INDEX, DatasetInfo
from utils.errors import DataError, SegwrightError
from utils.images.header import image_size
from utils.system.allocator import keep_freed_memory
from utils.system.threads import map_ahead


class BaseDataLoader(DataLoader, ABC):
    """Base of every loader: a subclass names its ``dataset_class``, nothing more.

    A config's ``args`` hold the arguments below and those of the data set side by side. Batches are
    :class:`~utils.data.batch.Batch`: uint8, channels last; images of different sizes are padded at the right
    and at the bottom with the mean colour, their labels with void.

    Attributes:
        dataset: the data set.
        info: its classes, colours and normalisation.

    Args:
        batch_size: images of a batch.
        shuffle: another order in every epoch; ``None`` is true for training data.
        num_workers: workers that prepare batches ahead; 0 prepares each one when it is asked for.
        worker_type: ``thread``: workers are threads of this process: batches need not be copied, nothing
            is started or shared. ``process``: worker processes, for data sets or transforms whose Python
            code takes most of the time.
        val_split: keep back a part for validation: below 1 its share, from 1 on its number of images.
            Groups of images (the views of one car) stay together; the draw is the same in every run.
        drop_last: leave out a last batch that is not full; ``None``: in training, if it is a single
            image beside larger batches, which batch norm cannot take.
        prefetch_factor: batches that each worker prepares ahead.
        repeat: how often an epoch passes over the images, drawn anew each time: sets of a few images then
            have epochs of more than a few steps.
        seed: start of every draw.

    Raises:
        ValueError: contradicting options, or fewer training images than a batch holds.
        DataError: the data is not as it should be.
    """

    dataset_class: ClassVar[type[BaseDataSet]]
    dataset: BaseDataSet

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "dataset_class"):
            own = merged_parameters(cls, BaseDataLoader)
            theirs = inspect.signature(cls.dataset_class).parameters
            required = {n: p for n, p in {**own, **theirs}.items() if p.default is inspect.Parameter.empty}
            merged = list({**required, **own, **theirs}.values())
            cls.__signature__ = inspect.Signature(merged)  # type: ignore[attr-defined]

    def __init__(
        self,
        batch_size: PositiveInt,
        shuffle: bool | None = None,
        num_workers: NonNegativeInt = 0,
        worker_type: Literal["thread", "process"] = "thread",
        val_split: NonNegativeFloat | None = None,
        drop_last: bool | None = None,
        prefetch_factor: PositiveInt = 2,
        repeat: PositiveInt = 1,
        seed: NonNegativeInt = 0,
        **dataset_options: Any,
    ) -> None:
        if worker_type == "process" and num_workers and dataset_options.get("cache") == "ram":
            raise ValueError("cache 'ram' is shared by threads only; use 'disk' with worker processes")
        dataset = self.dataset_class(seed=seed, **dataset_options)
        self._val_part: BaseDataSet | None = None
        if val_split:
            if dataset.val:
                raise ValueError("val_split divides training data; this is validation data (val is true)")
            try:
                train, val = split_groups(dataset.groups(), val_split)
            except ValueError as error:
                raise ValueError(f"val_split: {error}") from error
            self._val_part = dataset.subset(val, val=True)
            dataset = dataset.subset(train)
        processes = worker_type == "process"
        self._threads = 0 if processes else num_workers
        self._processes = num_workers if processes else 0
        self._ahead = prefetch_factor
        if dataset.val and repeat > 1:
            raise ValueError("repeat: validation data (val is true) is the same at every pass")
        shuffle = not dataset.val if shuffle is None else shuffle
        self._open(dataset, batch_size, shuffle, drop_last, repeat)

    def _open(
        self, dataset: BaseDataSet, batch_size: int, shuffle: bool, drop_last: bool | None, repeat: int = 1
    ) -> None:
        train = not dataset.val
        length = len(dataset) * repeat
        if train and length < batch_size:
            raise ValueError(
                f"batch_size: {batch_size} is more than the {length} images of the split; lower it, or raise "
                "repeat"
            )
        single = train and length % batch_size == 1 and batch_size > 1
        self.info: DatasetInfo = dataset.info
        self.batches = EpochBatches(
            length,
            batch_size,
            SampleKey,
            shuffle=shuffle,
            drop_last=single if drop_last is None else drop_last,
            seed=dataset.seed,
        )
        super().__init__(
            dataset,
            batch_sampler=self.batches,
            num_workers=self._processes,
            collate_fn=_Collate(self.info.fill_colour),
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_start_worker,
            persistent_workers=self._processes > 0,
            prefetch_factor=self._ahead if self._processes else None,
            generator=torch.Generator().manual_seed(dataset.seed),  # never draws from the global one
        )

    def set_epoch(self, epoch: int, start_step: int = 0) -> None:
        """Choose what the next iteration yields: an epoch, from one of its batches on.

        Nothing of what came before is decoded. ``len(loader)`` stays the number of batches of an epoch.
        """
        self.batches.epoch, self.batches.start_step = epoch, start_step

    @property
    def position(self) -> tuple[int, int]:
        """The epoch and the first step of the next iteration, as :meth:`set_epoch` takes them."""
        return self.batches.epoch, self.batches.start_step

    def get_val_loader(self) -> BaseDataLoader | None:
        """The part that ``val_split`` kept back: whole images, never augmented; ``None`` without one."""
        if self._val_part is None:
            return None
        loader = type(self).__new__(type(self))
        loader._val_part = None
        loader._threads, loader._processes, loader._ahead = self._threads, self._processes, self._ahead
        loader._open(self._val_part, self.batches.batch_size, shuffle=False, drop_last=None)
        return loader

    def largest_batch(self) -> Batch:
        """A batch of the largest images, for a rehearsal of the memory that an epoch will need."""
        count = min(self.batches.batch_size, len(self.dataset))
        indices = range(count)
        if self.dataset.files and self.dataset.crop_size is None:
            areas = [np.prod(image_size(sample.image)) for sample in self.dataset.files]
            indices = np.argsort(areas)[::-1][:count].tolist()
        items = self.dataset.__getitems__([SampleKey(0, index) for index in indices])
        return collate(items, self.info.fill_colour)

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """Yield the batches of the epoch.

        Raises:
            DataError: naming the file; from a worker the same error as without workers.
        """
        if self._processes:
            yield from self._iterate_processes()
        elif self._threads:
            ahead = self._threads * self._ahead
            with _one_cv2_thread():
                yield from map_ahead(self._prepare, self.batches, self._threads, ahead)
        else:
            for keys in self.batches:
                with _one_cv2_thread():
                    batch = self._prepare(keys)
                yield batch

    def _prepare(self, keys: Sequence[SampleKey]) -> Batch:
        batch = collate(self.dataset.__getitems__(keys), self.info.fill_colour)
        return batch.pin_memory() if self.pin_memory else batch

    def _iterate_processes(self) -> Iterator[Batch]:
        with _one_cv2_thread():  # a fork of a process whose cv2 has threads can never set their number
            batches = super().__iter__()
        try:
            for batch in batches:
                if isinstance(batch, SegwrightError):
                    raise batch
                yield batch
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise DataError(
                "a worker process that prepares data died (killed, or out of memory); lower num_workers"
            ) from error


@contextmanager
def _one_cv2_thread() -> Iterator[None]:
    """Images are small and workers are many: more threads in cv2 would only wait for each other."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def collate(items: Sequence[LabelledImage], fill: tuple[int, ...]) -> Batch:
    """Copy samples into one batch; in a worker straight into memory that both processes share.

    Args:
        items: the samples.
        fill: colour of the padding of images of different sizes, one value per channel.
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


class _Collate:
    """:func:`collate` as the loader calls it; lets errors of a worker pass."""

    def __init__(self, fill: tuple[int, ...]) -> None:
        self._fill = fill

    def __call__(self, items: Sequence[LabelledImage] | SegwrightError) -> Batch | SegwrightError:
        return items if isinstance(items, SegwrightError) else collate(items, self._fill)


class _Guarded:
    """Hands errors over as values, so that they arrive as they were and not inside torch's traceback."""

    def __init__(self, dataset: BaseDataSet) -> None:
        self._load = dataset.__getitems__

    def __call__(self, keys: Sequence[SampleKey]) -> list[LabelledImage] | SegwrightError:
        try:
            return self._load(keys)
        except SegwrightError as error:
            return error.with_traceback(None)


def _start_worker(number: int) -> None:
    """A worker leaves Ctrl-C to the main process, dies of SIGTERM, and uses one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    keep_freed_memory()  # decoders ask for the same few megabytes again and again
    info = get_worker_info()
    assert info is not None
    dataset: Any = info.dataset
    dataset.__getitems__ = _Guarded(dataset)


def _empty(*shape: int) -> Tensor:
    tensor = torch.empty(shape, dtype=torch.uint8)
    return tensor.share_memory_() if get_worker_info() is not None else tensor
