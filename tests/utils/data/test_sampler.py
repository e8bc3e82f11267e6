from __future__ import annotations

import numpy as np
import pytest

from utils.data.sampler import EpochBatches


def make(length=10, batch_size=3, shuffle=True, drop_last=False, seed=1):
    return EpochBatches(
        length,
        batch_size,
        lambda epoch, index: (epoch, index),
        shuffle=shuffle,
        drop_last=drop_last,
        seed=seed,
    )


def keys(sampler, epoch=0, start_step=0):
    sampler.epoch, sampler.start_step = epoch, start_step
    return list(sampler)


def test_batches_cover_every_sample_once_per_epoch():
    sampler, orders = make(), []
    for epoch in (1, 2):
        flat = [key for part in keys(sampler, epoch) for key in part]
        assert sorted(index for _, index in flat) == list(range(10))
        assert {number for number, _ in flat} == {epoch}
        orders.append([index for _, index in flat])
    assert orders[0] != orders[1]


def test_without_shuffle_samples_come_in_order():
    assert keys(make(5, 2, shuffle=False), 4) == [[(4, 0), (4, 1)], [(4, 2), (4, 3)], [(4, 4)]]


@pytest.mark.parametrize("length", [0, 1, 2, 3, 7, 9])
@pytest.mark.parametrize("drop_last", [False, True])
def test_its_length_is_the_number_of_batches(length, drop_last):
    sampler = make(length, 3, drop_last=drop_last)
    batches = keys(sampler)
    assert len(batches) == len(sampler) == (length // 3 if drop_last else -(-length // 3))
    assert all(len(batch) == 3 for batch in batches[: length // 3])


def test_an_epoch_can_be_continued_from_any_batch():
    complete = keys(make(), 3)
    for step in range(5):
        sampler = make()
        assert keys(sampler, 3, step) == complete[step:] and len(sampler) == len(complete)


def test_the_order_follows_from_seed_and_epoch_alone():
    assert keys(make(seed=5), 2) == keys(make(seed=5), 2)
    assert keys(make(seed=5), 2) != keys(make(seed=6), 2)


def test_the_order_shares_no_draws_with_the_augmentation_of_a_sample():
    """A data set draws sample i of epoch e from [seed, e, i]."""
    (order,) = keys(make(50, 50, seed=3), 1)
    for index in range(20):
        assert [i for _, i in order] != np.random.default_rng([3, 1, index]).permutation(50).tolist()


class TestKinds:
    """Samples of one kind share a batch."""

    def make(self, kinds, **options):
        key = lambda epoch, index: index  # noqa: E731
        fixed = {"batch_size": 2, "shuffle": False, "drop_last": False, "seed": 0, **options}
        return EpochBatches(len(kinds), make_key=key, kinds=kinds, **fixed)

    def test_batches_are_of_one_kind_in_the_order_of_their_first_samples(self):
        assert list(self.make("abacbaa")) == [[0, 2], [1, 4], [3], [5, 6]]

    def test_samples_of_an_unknown_kind_are_batches_of_one(self):
        assert list(self.make([None, "a", None, "a"])) == [[0], [1, 3], [2]]

    @pytest.mark.parametrize("options", [{}, {"shuffle": True}, {"drop_last": True}, {"batch_size": 3}])
    def test_every_sample_comes_once_and_the_length_is_right(self, options):
        sampler = self.make([*"abacbaabcc", None, None], **options)
        found = list(sampler)
        assert len(found) == len(sampler) and sorted(index for part in found for index in part) == list(
            range(12)
        )
        sampler.start_step = 3
        assert list(sampler) == found[3:]


@pytest.mark.parametrize("shuffle", [True, False])
def test_repeat_factors_are_drawn_from_seed_and_epoch_alone(shuffle):
    factors = np.array([1.0, 2.5, 1.0, 1.25])

    def drawn(seed=1):
        return EpochBatches(
            4,
            2,
            lambda epoch, index: (epoch, index),
            shuffle=shuffle,
            drop_last=False,
            seed=seed,
            factors=factors,
        )

    sampler = drawn()
    assert sampler.length == 6 and len(sampler) == 3
    epochs = [keys(sampler, epoch) for epoch in range(1, 9)]
    assert [keys(drawn(), epoch) for epoch in range(1, 9)] == epochs
    assert all(keys(sampler, epoch, 1) == epochs[epoch - 1][1:] for epoch in range(1, 9))  # resumed within it
    images = [sorted(index % 4 for part in epoch for _, index in part) for epoch in epochs]
    assert len({tuple(found) for found in images}) > 1 and all({0, 1, 2, 3} == {*found} for found in images)
