"""The base of every loader: seeded, restorable batches of a data set, the same for any number of workers."""

from __future__ import annotations

import inspect
from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader

from base.base_dataset import BaseDataSet, SampleKey
from base.checks import check_loader_options
from base.rare_images import image_factors
from base.workers import Collate, collate, one_cv2_thread, start_worker
from utils.augment.warp import Size
from utils.config.annotations import (
    MAY_CHANGE,
    Copies,
    MayChange,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    Share,
    Threads,
    Workers,
)
from utils.config.factory import merged_parameters, refuse
from utils.data.batch import Batch
from utils.data.repeat_factors import epoch_length
from utils.data.sampler import EpochBatches
from utils.data.splits import split_groups
from utils.dataset_info import DatasetInfo, Normalisation
from utils.errors import DataError, SegwrightError
from utils.images.header import image_size
from utils.system.cli import WORKER_DIED
from utils.system.threads import map_ahead


class BaseDataLoader(DataLoader[Any], ABC):
    """Base of every loader: a subclass names its ``dataset_class``, nothing more.

    The ``args`` of a config hold the arguments below and those of the data set side by side. Batches are
    :class:`~utils.data.batch.Batch`: uint8, channels last. In training, images of different sizes are padded at
    the right and at the bottom with the mean colour, their labels with void. Full images of validation data
    share a batch only with images of their own size, so that no figure depends on the batch size.

    Attributes:
        dataset: the data set.
        info: its classes, colours and normalisation.

    Args:
        batch_size: number of images in a batch. ``auto``, for training: the largest that fits into the memory and
            divides ``trainer.effective_batch``, found once, when a run starts.
        shuffle: draw a new order in every epoch; ``None`` is true for training data.
        num_workers: number of workers that prepare batches ahead; 0 prepares each batch when it is asked for.
        worker_type: ``thread``: workers are threads of this process: batches need not be copied, and nothing
            is started or shared. ``process``: worker processes, for data sets or transforms whose Python
            code takes most of the time.
        val_split: keep back a part for validation: below 1 its share, from 1 on its number of images.
            Groups of images (the views of one car) stay together; the draw is the same in every run.
        drop_last: leave out a last batch that is not full; ``None``: in training, if it is a single
            image beside larger batches, which batch norm cannot take. Batches of full validation images of
            several sizes are never left out.
        prefetch_factor: number of batches that each worker prepares ahead.
        repeat: number of passes over the images in an epoch, each with random draws of its own, so that sets of
            a few images have epochs of more than a few steps.
        sampler: ``rare_classes``: an image occurs r times in an epoch, on average, with r the largest
            ``max(1, sqrt(t / f))`` of its classes and f the share of the images that hold the class (Gupta et al.,
            "LVIS", 2019). The samples of every epoch are as many as the sum of r, times ``repeat``, rounded up.
        sampler_threshold: t of ``sampler``; ``None``: the median f of the classes that occur.
        seed: start of every random draw.
        dataset_options: arguments of the data set.

    Raises:
        ValueError: options that contradict each other, or fewer training images than a batch holds.
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
        batch_size: Annotated[PositiveInt | Literal["auto"], MayChange(only_in="val_loader")],
        shuffle: bool | None = None,
        num_workers: Annotated[Workers, MAY_CHANGE] = 0,
        worker_type: Annotated[Literal["thread", "process"], MAY_CHANGE] = "thread",
        val_split: NonNegativeFloat | None = None,
        drop_last: bool | None = None,
        prefetch_factor: Annotated[Threads, MAY_CHANGE] = 2,
        repeat: Copies = 1,
        sampler: Literal["rare_classes"] | None = None,
        sampler_threshold: Share | None = None,
        seed: NonNegativeInt = 0,
        **dataset_options: Any,
    ) -> None:
        processes = worker_type == "process"
        workers = {"num_workers": num_workers, "worker_type": worker_type}
        if batch_size == "auto":
            raise ValueError("batch_size: 'auto' is for train.py, which tries it; give a number")
        own = {
            "val_split": val_split,
            "repeat": repeat,
            "sampler": sampler,
            "sampler_threshold": sampler_threshold,
        }
        refuse(check_loader_options({**dataset_options, **workers, **own}, ""))
        dataset = self.dataset_class(seed=seed, **dataset_options)
        self._val_part: BaseDataSet | None = None
        if val_split:
            try:
                train, val = split_groups(dataset.groups(), val_split)
            except ValueError as error:
                raise ValueError(f"val_split: {error}") from error
            self._val_part = dataset.subset(val, val=True)
            dataset = dataset.subset(train)
        self._threads = 0 if processes else num_workers
        self._processes = num_workers if processes else 0
        self._ahead = prefetch_factor
        shuffle = not dataset.val if shuffle is None else shuffle
        factors = image_factors(dataset, sampler_threshold) * repeat if sampler else None
        self._open(dataset, batch_size, shuffle, drop_last, repeat, factors)

    @classmethod
    def check_arguments(cls, args: Mapping[str, Any], path: str) -> list[str]:
        """Return every mistake in the arguments of a config, the data set's included, that types do not show.

        Reads no file.

        Args:
            args: JSON arguments of the right types.
            path: JSON path of the object that holds them.

        Returns:
            One line for each mistake, which begins with the JSON path of an argument.
        """
        return [*check_loader_options(args, path), *cls.dataset_class.check_arguments(args, path)]

    def _open(
        self,
        dataset: BaseDataSet,
        batch_size: int,
        shuffle: bool,
        drop_last: bool | None,
        repeat: int = 1,
        factors: np.ndarray | None = None,
    ) -> None:
        train = not dataset.val
        length = len(dataset) * repeat
        if train and length < batch_size:
            raise ValueError(
                f"batch_size: {batch_size} is more than the {length} images of the split; lower it, or raise "
                "repeat"
            )
        dataset.prepare_mixes()
        samples = length if factors is None else epoch_length(factors)
        single = train and samples % batch_size == 1 and batch_size > 1
        self.info: DatasetInfo = dataset.info
        self.batches = EpochBatches(
            len(dataset) if factors is not None else length,
            batch_size,
            SampleKey,
            shuffle=shuffle,
            drop_last=single if drop_last is None else drop_last,
            seed=dataset.seed,
            kinds=_sizes_that_differ(dataset, batch_size),
            factors=factors,
        )
        super().__init__(
            dataset,
            batch_sampler=self.batches,
            num_workers=self._processes,
            collate_fn=Collate(self.info.fill_colour),
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=start_worker,
            persistent_workers=self._processes > 0,
            prefetch_factor=self._ahead if self._processes else None,
            generator=torch.Generator().manual_seed(dataset.seed),  # never draws from the global one
        )

    def normalise_as(self, normalisation: Normalisation) -> None:
        """Take another mean and standard deviation, before the first iteration; padding follows them."""
        self.dataset.normalise_as(normalisation)
        self.info = self.dataset.info
        self.collate_fn = Collate(self.info.fill_colour)

    def schedule_crops(self, steps: Sequence[tuple[int, Size]]) -> None:
        """Set the (height, width) of the crops of some epochs, before the first iteration."""
        self.dataset.schedule_crops(steps)

    def set_epoch(self, epoch: int, start_step: int = 0) -> None:
        """Choose the epoch of the next iteration, and the batch that it starts with.

        Earlier batches are not decoded. ``len(loader)`` stays the number of batches of a full epoch.
        """
        self.batches.epoch, self.batches.start_step = epoch, start_step

    @property
    def position(self) -> tuple[int, int]:
        """The epoch and the first step of the next iteration, as :meth:`set_epoch` takes them."""
        return self.batches.epoch, self.batches.start_step

    def get_val_loader(self) -> BaseDataLoader | None:
        """Return a loader of the part that ``val_split`` kept back, never augmented; ``None`` without one."""
        if self._val_part is None:
            return None
        loader = type(self).__new__(type(self))
        loader._val_part = None
        loader._threads, loader._processes, loader._ahead = self._threads, self._processes, self._ahead
        loader._open(self._val_part, self.batches.batch_size, shuffle=False, drop_last=None)
        return loader

    def largest_batch(self) -> Batch:
        """Return a batch of the largest images, for a dry run of the memory that an epoch needs."""
        sizes = self.batches.kinds
        if sizes is not None:
            keys = max(self.batches, key=lambda part: len(part) * np.prod(sizes[part[0].index] or 0))
            return collate(self.dataset.__getitems__(keys), self.info.fill_colour)
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
            DataError: a file is at fault; the message names it, with and without workers.
        """
        if self._processes:
            yield from self._iterate_processes()
        elif self._threads:
            ahead = self._threads * self._ahead
            with one_cv2_thread():
                yield from map_ahead(self._prepare, self.batches, self._threads, ahead)
        else:
            for keys in self.batches:
                with one_cv2_thread():
                    batch = self._prepare(keys)
                yield batch

    def _prepare(self, keys: Sequence[SampleKey]) -> Batch:
        batch = collate(self.dataset.__getitems__(keys), self.info.fill_colour)
        return batch.pin_memory() if self.pin_memory else batch

    def _iterate_processes(self) -> Iterator[Batch]:
        with one_cv2_thread():  # disable cv2's threads before forking; a child cannot change their number
            batches = super().__iter__()
        try:
            for batch in batches:
                if isinstance(batch, SegwrightError):
                    raise batch
                yield batch
        except (SegwrightError, OSError, RuntimeError) as error:
            self._stop_workers()
            if isinstance(error, RuntimeError) and "DataLoader worker" in str(error):
                raise DataError(WORKER_DIED) from error
            raise

    def _stop_workers(self) -> None:
        """End the workers now: at exit they would be terminated, which torch reports as a second error."""
        iterator, self._iterator = self._iterator, None
        if iterator is not None:
            iterator._shutdown_workers()  # type: ignore[attr-defined]


def _sizes_that_differ(dataset: BaseDataSet, batch_size: int) -> list[Size | None] | None:
    """Return the sizes of full validation images where they would be padded to form batches, else ``None``."""
    if not dataset.val or dataset.crop_size is not None or batch_size == 1:
        return None
    sizes = dataset.sizes()
    return None if len(set(sizes)) == 1 and sizes[0] is not None else sizes
