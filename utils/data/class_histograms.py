"""The pixels of each class in each mask of a data set, counted once and cached until a file changes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from utils.data.cache import load_json, save_json

Histogram = list[list[int]]  # [value 0..255, pixels] of the values that occur in a mask


class Labels(Protocol):
    """A data set whose labels can be read one by one."""

    def __len__(self) -> int: ...

    def label(self, index: int) -> np.ndarray: ...

    def fingerprint(self) -> str: ...


def mask_histograms(dataset: Labels) -> list[Histogram]:
    """Return the histogram of every mask, read several at a time.

    Raises:
        DataError: a mask cannot be read, or holds a value that is neither a class nor void.
    """
    key = dataset.fingerprint()
    found = load_json("mask-histograms", key)
    if not (isinstance(found, list) and len(found) == len(dataset)):
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            found = list(pool.map(lambda i: _histogram(dataset.label(i)), range(len(dataset))))
        save_json("mask-histograms", key, found)
    histograms: list[Histogram] = found
    return histograms


def dense(histograms: Iterable[Histogram]) -> Iterable[np.ndarray]:
    """Yield each histogram as (256,) int64."""
    for histogram in histograms:
        counts = np.zeros(256, np.int64)
        for value, pixels in histogram:
            counts[value] = pixels
        yield counts


def images_of_classes(histograms: Iterable[Histogram], num_classes: int) -> list[np.ndarray]:
    """Return for each class the sorted indices of the images that hold it."""
    found: list[list[int]] = [[] for _ in range(num_classes)]
    for index, histogram in enumerate(histograms):
        for value, _ in histogram:
            if value < num_classes:
                found[value].append(index)
    return [np.array(indices, np.int64) for indices in found]


def rare_classes(histograms: Iterable[Histogram], num_classes: int) -> list[int]:
    """Return the classes that occur, but with fewer pixels than the median of the classes that occur."""
    pixels = np.zeros(256, np.int64)
    for counts in dense(histograms):
        pixels += counts
    pixels = pixels[:num_classes]
    if not pixels.any():
        return []
    return list(np.flatnonzero((pixels > 0) & (pixels < np.median(pixels[pixels > 0]))).tolist())


def _histogram(label: np.ndarray) -> Histogram:
    counts = np.bincount(label.reshape(-1), minlength=256)
    return [[int(value), int(counts[value])] for value in np.flatnonzero(counts)]
