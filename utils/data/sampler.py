"""Which samples make up which batch: a pure function of (seed, epoch), from any batch of it on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch.utils.data import Sampler

_ORDER = 7  # keeps the draws of the order apart from those of sample 0, 1, ...


class EpochBatches(Sampler[list[Any]]):
    """Batches of sample keys.

    Args:
        length: number of samples.
        batch_size: samples of a batch; the last may have fewer.
        make_key: makes what a data set is asked for from (epoch, index).
        shuffle: another order in every epoch.
        drop_last: leave out a last batch that is not full.
        seed: start of the draws.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        make_key: Callable[[int, int], Any],
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
        """Batches of a whole epoch, wherever iteration starts."""
        full, rest = divmod(self.length, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[list[Any]]:
        order = np.arange(self.length)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch, 0, _ORDER]).permutation(order)
        epoch = self.epoch
        for step in range(self.start_step, len(self)):
            part = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield [self.make_key(epoch, int(index)) for index in part]
