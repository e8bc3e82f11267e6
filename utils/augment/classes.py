"""Augmentation that knows classes: labels swapped in mirror images, crops around a pixel of a class."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from utils.augment.external import MIRRORING
from utils.config.factory import Problem
from utils.dataset_info import IGNORE_INDEX, swapped_classes


def check_flip_pairs(args: Mapping[str, Any], path: str) -> list[str]:
    """Return the mistake of ``flip_pairs`` that contradict themselves or ``albumentations``, as a line.

    Args:
        args: the options given.
        path: JSON path of ``flip_pairs``.
    """
    names = [name for pair in args.get("flip_pairs") or () for name in pair]
    if len(set(names)) < len(names):
        reason = "each class name may occur once: its labels are swapped with those of one other class"
        return [Problem(path, reason)]
    mirroring = MIRRORING & {str(entry.get("type")) for entry in args.get("albumentations") or ()}
    if names and mirroring:
        reason = f"{min(mirroring)} of albumentations mirrors images without swapping; use flip"
        return [Problem(path, reason)]
    return []


@functools.lru_cache(maxsize=8)
def swapped_labels(classes: tuple[str, ...], pairs: tuple[tuple[str, ...], ...]) -> np.ndarray:
    """Return the label that each value 0..255 becomes in a mirror image, (256,) uint8."""
    table = np.arange(256, dtype=np.uint8)
    table[: len(classes)] = swapped_classes(classes, pairs)
    return table


def point_of_a_class(
    label: np.ndarray, rng: np.random.Generator, wanted: int | None = None
) -> tuple[float, float] | None:
    """Draw a pixel of a class.

    Args:
        label: (H, W) uint8.
        rng: source of the draws.
        wanted: the class index; ``None`` draws it from those in the image.

    Returns:
        (x, y) in 0..1 of the image; ``None`` where no pixel is of the class.
    """
    if wanted is None:
        present = np.flatnonzero(np.bincount(label.reshape(-1), minlength=256)[:IGNORE_INDEX])
        if not len(present):
            return None
        wanted = rng.choice(present)
    places = np.flatnonzero(label.reshape(-1) == wanted)
    if not len(places):
        return None
    row, column = divmod(int(rng.choice(places)), label.shape[1])
    return (column + 0.5) / label.shape[1], (row + 0.5) / label.shape[0]
