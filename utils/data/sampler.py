"""Batches of sample keys as a pure function of (seed, epoch), from any step of an epoch on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from torch.utils.data import Sampler

Key = TypeVar("Key")

# separate random stream, so that shuffling never shares draws with a sample's augmentation
_SHUFFLE_STREAM = 7


class EpochBatches(Sampler[list[Key]]):
    """Sampler of batches of sample keys.

    Attributes:
        epoch: the epoch that iteration gives; set it before.
        start_step: the batch that iteration begins with, for a run that is resumed within an epoch.

    Args:
        length: number of samples.
        batch_size: samples of a batch; the last may have fewer.
        make_key: (epoch, index) -> the key that the data set takes.
        shuffle: draw another order in every epoch.
        drop_last: leave out a last batch that is not full.
        seed: seed of the order.
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
    ) -> None:
        self.length = length
        self.batch_size = batch_size
        self.make_key = make_key
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = seed
        self.epoch = 0
        self.start_step = 0

    def __len__(self) -> int:
        """Number of batches of an epoch, independent of ``start_step``."""
        full, rest = divmod(self.length, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[list[Key]]:
        order = np.arange(self.length)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch, 0, _SHUFFLE_STREAM]).permutation(order)
        epoch = self.epoch
        for step in range(self.start_step, len(self)):
            part = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield [self.make_key(epoch, int(index)) for index in part]
