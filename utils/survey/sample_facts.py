"""Facts and problems of one sample of a data set, from reading its image and its mask once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from utils.dataset_info import IGNORE_INDEX, DatasetInfo
from utils.errors import DataError, DataErrorKind
from utils.images.header import exif_orientation, image_size
from utils.survey.findings import ProblemKind

_SIDE = 16  # of the thumbnails that near-duplicates are found by
_FLAT = 4.0  # standard deviation up to which a thumbnail is too flat to be compared

_MASK_PROBLEMS: dict[DataErrorKind, ProblemKind] = {
    "unknown_value": "unknown_value",
    "unknown_colour": "unknown_colour",
    "colour_mask": "colour_mask",
    "jpeg_mask": "jpeg_mask",
}


class SampleFiles(Protocol):
    """Files of a sample."""

    @property
    def image_id(self) -> str: ...

    @property
    def image(self) -> Path: ...

    @property
    def mask(self) -> Path | None: ...


class ExaminedData(Protocol):
    """A data set that can be examined; ``files`` is empty where the samples are drawn, not read."""

    @property
    def files(self) -> Sequence[SampleFiles]: ...

    @property
    def info(self) -> DatasetInfo: ...

    def __len__(self) -> int: ...

    def image(self, index: int) -> np.ndarray: ...

    def label(self, index: int) -> np.ndarray: ...

    def load_checked(self, index: int) -> tuple[np.ndarray, np.ndarray, str]: ...


@dataclass
class SampleFacts:
    """Measurements and problems of one sample.

    Attributes:
        name: name of the sample.
        file: its image file, or its name where it is drawn.
        size: (height, width) of the image.
        problems: kind, and the text that names the file.
        warnings: the same for what does not stop training.
        histogram: (256,) pixels of each class index; ``None`` without a readable mask.
        sums: (2, C) float64, sum and sum of squares of the pixel values in 0..1; ``None`` without a
            readable image.
        extent: lowest and highest pixel value in 0..255; ``None`` without a readable image.
        digest: hash of the pixels; empty without a readable image.
        bits: packed bits of a thumbnail, which similar images share; ``None`` for a flat image.
    """

    name: str
    file: str
    size: tuple[int, int] = (0, 0)
    problems: list[tuple[ProblemKind, str]] = field(default_factory=list)
    warnings: list[tuple[ProblemKind, str]] = field(default_factory=list)
    histogram: np.ndarray | None = None
    sums: np.ndarray | None = None
    extent: tuple[int, int] | None = None
    digest: str = ""
    bits: np.ndarray | None = None


def examine_sample(dataset: ExaminedData, index: int) -> SampleFacts:
    """Read one sample, and record its problems instead of raising them."""
    if not dataset.files:
        image, label, name = dataset.load_checked(index)
        return _measure(SampleFacts(name, name, (label.shape[0], label.shape[1])), image, label)
    sample = dataset.files[index]
    facts = SampleFacts(sample.image_id, str(sample.image))
    pixels, classes = _try_image(dataset, index, facts), _try_label(dataset, index, facts)
    if pixels is not None and classes is not None and pixels.shape[:2] != classes.shape:
        sizes = [f"{array.shape[1]}x{array.shape[0]}" for array in (pixels, classes)]
        text = f"{sample.image} {sizes[0]}, {sample.mask} {sizes[1]}"
        facts.problems.append(("size_mismatch", text))
    if pixels is not None and sample.image.suffix.lower() != ".npy" and exif_orientation(sample.image) != 1:
        facts.warnings.append(("exif_rotation", str(sample.image)))
    return _measure(facts, pixels, classes)


def _try_image(dataset: ExaminedData, index: int, facts: SampleFacts) -> np.ndarray | None:
    try:
        facts.size = image_size(dataset.files[index].image)
        return dataset.image(index)
    except DataError as error:
        facts.problems.append(("unreadable_image", str(error)))
        return None


def _try_label(dataset: ExaminedData, index: int, facts: SampleFacts) -> np.ndarray | None:
    if dataset.files[index].mask is None:
        return None
    try:
        return dataset.label(index)
    except DataError as error:
        facts.problems.append((_MASK_PROBLEMS.get(error.kind, "unreadable_mask"), str(error)))
        return None


def _measure(facts: SampleFacts, image: np.ndarray | None, label: np.ndarray | None) -> SampleFacts:
    if label is not None:
        facts.histogram = np.bincount(label.reshape(-1), minlength=256)
        values = np.flatnonzero(facts.histogram)
        if len(values) == 1:
            facts.warnings.append(("void_mask" if values[0] == IGNORE_INDEX else "one_class", facts.file))
    if image is not None:
        scaled = image.reshape(-1, image.shape[2]).astype(np.float32) / 255
        facts.sums = np.stack([scaled.sum(0, dtype=np.float64), np.square(scaled).sum(0, dtype=np.float64)])
        facts.extent = int(image.min()), int(image.max())
        facts.digest = hashlib.sha1(image.tobytes(), usedforsecurity=False).hexdigest()
        small = cv2.resize(image.mean(axis=2), (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA)
        if small.std() > _FLAT:
            facts.bits = np.packbits(small[:, 1:] > small[:, :-1])
    return facts
