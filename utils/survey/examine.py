"""Reads every file of a data set once, and collects what would hurt training."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from utils.data.class_weights import sum_histograms, weights_from_counts
from utils.data.pairing import name_some
from utils.dataset_info import IGNORE_INDEX, DatasetInfo
from utils.errors import DataError, DataErrorKind
from utils.images.header import exif_orientation, image_size
from utils.survey.findings import Level, Problem, ProblemKind, Report, SplitReport

_SIDE = 16  # of the thumbnails that near-duplicates are found by
_NEAR = 8  # differing bits of _SIDE ** 2 up to which two images count as the same
_FLAT = 4.0  # standard deviation up to which a thumbnail is too flat to be compared

_MASK_PROBLEMS: dict[DataErrorKind, ProblemKind] = {
    "unknown_value": "unknown_value",
    "unknown_colour": "unknown_colour",
    "colour_mask": "colour_mask",
    "jpeg_mask": "jpeg_mask",
}
_HEADINGS: dict[ProblemKind, str] = {
    "unreadable_image": "images cannot be read",
    "unreadable_mask": "masks cannot be read",
    "unknown_value": "masks hold values that are neither a class nor void",
    "unknown_colour": "masks hold colours that are not in the table",
    "colour_mask": "masks are colour images, not class indices",
    "jpeg_mask": "masks are JPEGs, whose values the compression has changed",
    "size_mismatch": "image and mask differ in size",
    "exif_rotation": "photos carry an EXIF rotation, which training ignores: see that masks fit the photo "
    "unrotated",
    "void_mask": "masks are void everywhere",
    "one_class": "masks hold one class only",
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
    digest: str = ""
    bits: np.ndarray | None = None


def examine(datasets: Mapping[str, ExaminedData]) -> Report:
    """Examine the parts of a data set.

    Args:
        datasets: title -> data set; the first one is for training.

    Returns:
        A report with every problem, however many there are.
    """
    info = next(iter(datasets.values())).info
    report = Report(list(info.classes))
    facts: dict[str, list[SampleFacts]] = {}
    for title, dataset in datasets.items():
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            facts[title] = list(pool.map(partial(examine_sample, dataset), range(len(dataset))))
        report.splits.append(_summarise(title, facts[title], report.classes))
    report.between = _compare_images(facts) + _compare_classes(report)
    report.weights = _weights(facts[report.splits[0].title], info.num_classes)
    return report


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
        facts.digest = hashlib.sha1(image.tobytes(), usedforsecurity=False).hexdigest()
        small = cv2.resize(image.mean(axis=2), (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA)
        if small.std() > _FLAT:
            facts.bits = np.packbits(small[:, 1:] > small[:, :-1])
    return facts


def _summarise(title: str, facts: list[SampleFacts], classes: Sequence[str]) -> SplitReport:
    split = SplitReport(title, len(facts))
    sizes = Counter(f"{fact.size[1]}x{fact.size[0]}" for fact in facts if fact.size != (0, 0))
    split.sizes = dict(sizes.most_common())
    _count_classes(split, facts, classes)
    _measure_channels(split, facts)
    split.problems += _collect("error", (item for fact in facts for item in fact.problems))
    split.problems += _collect("warning", (item for fact in facts for item in fact.warnings))
    return split


def _count_classes(split: SplitReport, facts: list[SampleFacts], classes: Sequence[str]) -> None:
    histograms = [fact.histogram for fact in facts if fact.histogram is not None]
    if not histograms:
        return
    table = np.stack(histograms)
    counts = table[:, : len(classes)]
    split.pixels = counts.sum(axis=0).tolist()
    split.void = int(table[:, IGNORE_INDEX].sum())
    split.images_with = (counts > 0).sum(axis=0).tolist()
    absent = [name for name, count in zip(classes, split.images_with, strict=True) if not count]
    if absent:
        what = f"classes in no mask of this split: {', '.join(absent)}"
        split.problems.append(Problem("absent_class", "warning", what))


def _measure_channels(split: SplitReport, facts: list[SampleFacts]) -> None:
    """Set the mean and standard deviation of each channel over all pixels."""
    sums = [fact.sums for fact in facts if fact.sums is not None]
    if sums:
        count = sum(fact.size[0] * fact.size[1] for fact in facts if fact.sums is not None)
        mean, square = np.sum(sums, axis=0) / count
        split.mean = [round(float(value), 5) for value in mean]
        split.std = [round(float(value), 5) for value in np.sqrt(np.maximum(square - mean**2, 0))]


def _collect(level: Level, items: Iterable[tuple[ProblemKind, str]]) -> list[Problem]:
    """Return one problem of each kind, with all its files."""
    by_kind: dict[ProblemKind, list[str]] = defaultdict(list)
    for kind, file in items:
        by_kind[kind].append(file)
    return [Problem(kind, level, f"{len(files)} {_HEADINGS[kind]}", files) for kind, files in by_kind.items()]


def _compare_images(facts: Mapping[str, list[SampleFacts]]) -> list[Problem]:
    """Return the images that are in two splits, or look almost the same in both."""
    problems = []
    for first, second in combinations(facts, 2):
        same = _same_images(facts[first], facts[second])
        if same:
            what = f"{len(same)} images are in {first} and in {second}"
            problems.append(Problem("same_image", "warning", what, same))
        near = _similar_images(facts[first], facts[second])
        if near:
            what = f"{len(near)} images in {second} look almost like one in {first}"
            problems.append(Problem("similar_image", "warning", what, near))
    return problems


def _same_images(first: list[SampleFacts], second: list[SampleFacts]) -> list[str]:
    by_digest = {fact.digest: fact for fact in first if fact.digest}
    return [f"{by_digest[f.digest].file} = {f.file}" for f in second if f.digest in by_digest]


def _similar_images(first: list[SampleFacts], second: list[SampleFacts]) -> list[str]:
    known = [(fact.file, fact.bits) for fact in first if fact.bits is not None]
    if not known:
        return []
    digests = {fact.digest for fact in first}
    table = np.stack([bits for _, bits in known])
    near = []
    for fact in second:
        if fact.bits is None or fact.digest in digests:
            continue
        distance = np.unpackbits(table ^ fact.bits, axis=1).sum(axis=1)
        if distance.min() <= _NEAR:
            near.append(f"{known[int(distance.argmin())][0]} ~ {fact.file}")
    return near


def _compare_classes(report: Report) -> list[Problem]:
    """Return the splits with classes that training lacks."""
    if not all(split.images_with for split in report.splits):
        return []
    problems = []
    train, *others = report.splits
    for other in others:
        counts = zip(report.classes, train.images_with, other.images_with, strict=True)
        unseen = [name for name, in_train, in_other in counts if in_other and not in_train]
        if unseen:
            what = f"{other.title} has classes that training never sees: {name_some(unseen)}"
            problems.append(Problem("unseen_class", "warning", what))
    return problems


def _weights(facts: list[SampleFacts], num_classes: int) -> list[float]:
    histograms = [fact.histogram for fact in facts if fact.histogram is not None]
    if not histograms:
        return []
    weights = weights_from_counts("median", sum_histograms(histograms, num_classes))
    return [round(weight, 4) for weight in weights]
