"""Batches of sample keys as a pure function of (seed, epoch), from any step of an epoch on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from torch.utils.data import Sampler

from utils.data.repeat_factors import drawn_samples, epoch_length

Key = TypeVar("Key")

# separate random streams, so that the order never shares draws with a sample's augmentation
_SHUFFLE_STREAM = 7
_REPEAT_STREAM = 9


class EpochBatches(Sampler[list[Key]]):
    """Sampler of batches of sample keys.

    Attributes:
        epoch: the epoch that iteration gives; set it before.
        start_step: the batch that iteration begins with, for a run that is resumed within an epoch.

    Args:
        length: number of samples; with ``factors``, of images.
        batch_size: samples of a batch; the last may have fewer.
        make_key: (epoch, index) -> the key that the data set takes.
        shuffle: draw another order in every epoch.
        drop_last: leave out a last batch that is not full.
        seed: seed of the order.
        kinds: kind of each sample; a batch then holds samples of one kind, those of kind ``None`` are batches
            of one, and no batch is left out. ``None``: all are of one kind.
        factors: repeat factor of each image, (``length``,): every epoch then has
            :func:`~utils.data.repeat_factors.epoch_length` samples. ``None``: each image occurs once.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        make_key: Callable[[int, int], Key],
        *,
        shuffle: bool,
        drop_last: bool,
        seed: int,
        kinds: Sequence[Any] | None = None,
        factors: np.ndarray | None = None,
    ) -> None:
        self.length = length if factors is None else epoch_length(factors)
        self.factors = factors
        self.batch_size = batch_size
        self.make_key = make_key
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = seed
        self.kinds = kinds
        self.epoch = 0
        self.start_step = 0

    def __len__(self) -> int:
        """Number of batches of an epoch, independent of ``start_step``."""
        if self.kinds is not None:
            counts = Counter(self.kinds)
            alone = counts.pop(None, 0)
            return alone + sum(-(-count // self.batch_size) for count in counts.values())
        full, rest = divmod(self.length, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[list[Key]]:
        order: Any = np.arange(self.length)
        if self.factors is not None:
            order = drawn_samples(
                self.factors, np.random.default_rng([self.seed, self.epoch, 0, _REPEAT_STREAM])
            )
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch, 0, _SHUFFLE_STREAM]).permutation(order)
        epoch = self.epoch
        parts = self._cut(order) if self.kinds is None else self._sort(order, self.kinds)
        for part in parts[self.start_step : len(self)]:
            yield [self.make_key(epoch, int(index)) for index in part]

    def _cut(self, order: Sequence[int]) -> list[Sequence[int]]:
        return [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]

    def _sort(self, order: Sequence[int], kinds: Sequence[Any]) -> list[Sequence[int]]:
        """Return batches of one kind each, in the order of their first samples."""
        parts: list[Sequence[int]] = []
        unfilled: dict[Any, list[int]] = {}
        for index in order:
            kind = kinds[index]
            part = unfilled.get(kind)
            if kind is None or part is None or len(part) == self.batch_size:
                part = unfilled[kind] = []
                parts.append(part)
            part.append(index)
        return parts
