from __future__ import annotations

import pytest

from utils.data.splits import split_folds, split_groups

CARS = [f"car{i // 16}" for i in range(160)]


def test_groups_are_never_divided():
    train, val = split_groups(CARS, 0.2)
    assert sorted(train + val) == list(range(160)) and len(val) == 32
    assert not {CARS[i] for i in train} & {CARS[i] for i in val}
    assert len(split_groups(CARS, 48)[1]) == 48


def test_a_split_that_is_impossible_says_why():
    with pytest.raises(ValueError, match="160 leaves no image of 160"):
        split_groups(CARS, 160)
    with pytest.raises(ValueError, match="2 images in 1 group"):
        split_groups(["a", "a"], 0.5)


def test_the_second_part_gets_at_least_one_group_and_comes_near_the_share():
    assert len(split_groups(CARS, 0.001)[1]) == 16
    sizes = [1, 5, 2, 9, 3, 4, 7]
    groups = [str(number) for number, size in enumerate(sizes) for _ in range(size)]
    for seed in range(20):
        _, val = split_groups(groups, 0.3, seed)
        assert abs(len(val) - 0.3 * len(groups)) <= max(sizes)


def test_the_same_seed_gives_the_same_split_whatever_the_order_of_the_samples():
    def chosen(groups, seed):
        return {groups[i] for i in split_groups(groups, 0.3, seed)[1]}

    assert chosen(CARS, 4) == chosen(CARS[::-1], 4)
    assert len({frozenset(chosen(CARS, seed)) for seed in range(10)}) > 1


@pytest.mark.parametrize("folds", [2, 3, 10])
def test_every_sample_is_in_the_second_part_of_one_fold(folds):
    parts = [split_folds(CARS, folds, fold, seed=2) for fold in range(folds)]
    assert sorted(index for _, val in parts for index in val) == list(range(160))
    for train, val in parts:
        assert sorted(train + val) == list(range(160))
        assert not {CARS[i] for i in train} & {CARS[i] for i in val}


def test_more_folds_than_groups_are_refused():
    with pytest.raises(ValueError, match="10 images or groups cannot be divided into 11 folds"):
        split_folds(CARS, 11, 0)
