"""Reads every file of a data set once, and collects what would hurt training."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from utils.data.pairing import name_some
from utils.dataset_info import IGNORE_INDEX
from utils.errors import DataError
from utils.images.header import exif_orientation, image_size
from utils.survey.findings import Problem, Report, SplitReport

_SIDE = 16  # of the small pictures that near-duplicates are found by
_NEAR = 8  # differing bits of _SIDE ** 2 that count as the same picture
_FLAT = 4.0  # standard deviation below which a picture is too flat to tell


@dataclass
class Facts:
    """What one sample is like."""

    name: str
    file: str
    size: tuple[int, int] = (0, 0)
    problems: list[tuple[str, str]] = field(default_factory=list)  # what, file
    warnings: list[tuple[str, str]] = field(default_factory=list)
    histogram: np.ndarray | None = None
    sums: np.ndarray | None = None  # per channel: sum and sum of squares of values in 0..1
    digest: str = ""
    bits: np.ndarray | None = None


def examine(datasets: dict[str, Any]) -> Report:
    """Examine the parts of a data set.

    Args:
        datasets: title -> data set; the first one is for training.

    Returns:
        The report; it holds every problem, however many there are.
    """
    info = next(iter(datasets.values())).info
    report = Report(list(info.classes))
    facts: dict[str, list[Facts]] = {}
    for title, dataset in datasets.items():
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            facts[title] = list(pool.map(lambda i, d=dataset: look_at(d, i), range(len(dataset))))
        report.splits.append(_summarise(title, facts[title], info.num_classes, list(info.classes)))
    report.between = _compare(facts, report)
    report.weights = _weights(facts[report.splits[0].title], info.num_classes)
    return report


def look_at(dataset: Any, index: int) -> Facts:
    """Read one sample, whatever is wrong with it."""
    if not dataset.files:  # drawn, not read
        image, label, name = dataset._load_data(index)
        return _measure(Facts(name, name, label.shape), image, label)
    sample = dataset.files[index]
    facts = Facts(sample.image_id, str(sample.image))
    image = label = None
    try:
        facts.size = image_size(sample.image)
        image = dataset._read_image(sample)
    except DataError as error:
        facts.problems.append(("images cannot be read", str(error)))
    if sample.mask is not None:
        try:
            label = dataset.label(index)
        except DataError as error:
            facts.problems.append((_kind(str(error)), str(error)))
    if image is not None and label is not None and image.shape[:2] != label.shape:
        text = f"{sample.image} {image.shape[1]}x{image.shape[0]}, {sample.mask} {label.shape[1]}x{label.shape[0]}"
        facts.problems.append(("image and mask differ in size", text))
    if image is not None and sample.image.suffix.lower() != ".npy" and exif_orientation(sample.image) != 1:
        what = "photos carry an EXIF rotation, which training ignores: see that masks fit the photo unrotated"
        facts.warnings.append((what, str(sample.image)))
    return _measure(facts, image, label)


def _measure(facts: Facts, image: np.ndarray | None, label: np.ndarray | None) -> Facts:
    if label is not None:
        facts.histogram = np.bincount(label.reshape(-1), minlength=256)
        values = np.flatnonzero(facts.histogram)
        if len(values) == 1:
            what = "masks are void everywhere" if values[0] == IGNORE_INDEX else "masks hold one class only"
            facts.warnings.append((what, facts.file))
    if image is not None:
        scaled = image.reshape(-1, image.shape[2]).astype(np.float32) / 255
        facts.sums = np.stack([scaled.sum(0, dtype=np.float64), np.square(scaled).sum(0, dtype=np.float64)])
        facts.digest = hashlib.sha1(image.tobytes(), usedforsecurity=False).hexdigest()
        small = cv2.resize(image.mean(axis=2), (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA)
        if small.std() > _FLAT:
            facts.bits = np.packbits(small[:, 1:] > small[:, :-1])
    return facts


def _kind(message: str) -> str:
    """A heading for a complaint about a mask."""
    for words, kind in {
        "allowed are": "masks hold values that are neither a class nor void",
        "colour table": "masks hold colours that are not in the table",
        "is a colour image": "masks are colour pictures, not class indices",
        "JPEG mask": "masks are JPEGs, whose values the compression has changed",
    }.items():
        if words in message:
            return kind
    return "masks cannot be read"


def _summarise(title: str, facts: list[Facts], num_classes: int, classes: list[str]) -> SplitReport:
    split = SplitReport(title, len(facts))
    sizes = Counter(f"{fact.size[1]}x{fact.size[0]}" for fact in facts if fact.size != (0, 0))
    split.sizes = dict(sizes.most_common())
    histograms = [fact.histogram for fact in facts if fact.histogram is not None]
    if histograms:
        table = np.stack(histograms)
        split.pixels = table[:, :num_classes].sum(axis=0).tolist()
        split.void = int(table[:, IGNORE_INDEX].sum())
        split.images_with = (table[:, :num_classes] > 0).sum(axis=0).tolist()
        absent = [name for name, count in zip(classes, split.images_with, strict=True) if not count]
        if absent:
            split.problems.append(
                Problem("warning", f"classes in no mask of this split: {', '.join(absent)}")
            )
    sums = [fact.sums for fact in facts if fact.sums is not None]
    if sums:
        count = sum(fact.size[0] * fact.size[1] for fact in facts if fact.sums is not None)
        mean, square = np.sum(sums, axis=0) / count
        split.mean = [round(float(value), 5) for value in mean]
        split.std = [round(float(value), 5) for value in np.sqrt(np.maximum(square - mean**2, 0))]
    split.problems += _collect("error", (item for fact in facts for item in fact.problems))
    split.problems += _collect("warning", (item for fact in facts for item in fact.warnings))
    return split


def _collect(level: Any, items: Iterable[tuple[str, str]]) -> list[Problem]:
    by_kind: dict[str, list[str]] = defaultdict(list)
    for what, file in items:
        by_kind[what].append(file)
    return [Problem(level, f"{len(files)} {what}", files) for what, files in by_kind.items()]


def _compare(facts: dict[str, list[Facts]], report: Report) -> list[Problem]:
    """The same pictures in two splits, and classes that only one of them has."""
    problems = []
    titles = list(facts)
    for position, first in enumerate(titles):
        for second in titles[position + 1 :]:
            same, near = _shared(facts[first], facts[second])
            if same:
                problems.append(
                    Problem("warning", f"{len(same)} pictures are in {first} and in {second}", same)
                )
            if near:
                what = f"{len(near)} pictures in {second} look almost like one in {first}"
                problems.append(Problem("warning", what, near))
    if len(report.splits) > 1 and all(split.images_with for split in report.splits):
        train, *others = report.splits
        for other in others:
            lost = [
                name
                for name, a, b in zip(report.classes, train.images_with, other.images_with, strict=True)
                if b and not a
            ]
            if lost:
                what = f"{other.title} has classes that training never sees: {name_some(lost)}"
                problems.append(Problem("warning", what))
    return problems


def _shared(first: list[Facts], second: list[Facts]) -> tuple[list[str], list[str]]:
    """Pairs of equal pictures, and pairs of almost equal ones."""
    by_digest = {fact.digest: fact for fact in first if fact.digest}
    same = [f"{by_digest[f.digest].file} = {f.file}" for f in second if f.digest in by_digest]
    known = [fact for fact in first if fact.bits is not None]
    if not known:
        return same, []
    table = np.stack([fact.bits for fact in known if fact.bits is not None])
    near = []
    for fact in second:
        if fact.bits is None or fact.digest in by_digest:
            continue
        distance = np.unpackbits(table ^ fact.bits, axis=1).sum(axis=1)
        if distance.min() <= _NEAR:
            near.append(f"{known[int(distance.argmin())].file} ~ {fact.file}")
    return same, near


def _weights(facts: list[Facts], num_classes: int) -> list[float]:
    from utils.data.class_weights import sum_histograms, weights_from_counts

    histograms = [fact.histogram for fact in facts if fact.histogram is not None]
    if not histograms:
        return []
    return [
        round(weight, 4) for weight in weights_from_counts("median", sum_histograms(histograms, num_classes))
    ]
