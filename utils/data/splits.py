"""Seeded splits that keep images of one group together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def split_groups(groups: Sequence[str], share: float, seed: int = 0) -> tuple[list[int], list[int]]:
    """Split samples in two so that no group is in both parts.

    Args:
        groups: the group of every sample.
        share: size of the second part: below 1 a share, from 1 on a number of samples.
        seed: seed of the draw. The same seed and the same groups give the same parts.

    Returns:
        Sorted indices of the first and of the second part. Groups are added to the second part as
        long as that brings it nearer to the requested size; it gets at least one.

    Raises:
        ValueError: there are fewer than two groups, or the first part would be empty.
    """
    names = sorted(set(groups))
    if len(names) < 2:
        raise ValueError(
            f"{len(groups)} images in {len(names)} group(s) cannot be split in two: images of one group (the "
            "views of one car) stay together; is there a split that takes them all, such as 'trainval'?"
        )
    members: dict[str, list[int]] = {name: [] for name in names}
    for index, group in enumerate(groups):
        members[group].append(index)
    wanted = share * len(groups) if share < 1 else share
    second: list[int] = []
    for position in np.random.default_rng(seed).permutation(len(names)):
        more = members[names[position]]
        if second and abs(len(second) + len(more) - wanted) >= abs(len(second) - wanted):
            break
        second += more
    if len(second) == len(groups):
        raise ValueError(f"{share:g} leaves no image of {len(groups)} for training")
    chosen = set(second)
    return [index for index in range(len(groups)) if index not in chosen], sorted(second)


def split_folds(groups: Sequence[str], folds: int, fold: int, seed: int = 0) -> tuple[list[int], list[int]]:
    """Return one of the splits of a k-fold cross-validation, groups kept together.

    Args:
        groups: the group of every sample.
        folds: number of parts; each sample is in the second list of exactly one of them.
        fold: number of the part, from 0.
        seed: seed of the draw.

    Returns:
        Sorted indices of the other parts, and of part ``fold``.

    Raises:
        ValueError: there are fewer groups than parts.
    """
    names = sorted(set(groups))
    if len(names) < folds:
        raise ValueError(f"{len(names)} images or groups cannot be divided into {folds} folds")
    order = np.random.default_rng(seed).permutation(len(names))
    part = {names[position]: rank % folds for rank, position in enumerate(order)}
    inside = [part[group] == fold for group in groups]
    return [i for i, is_in in enumerate(inside) if not is_in], [i for i, is_in in enumerate(inside) if is_in]
