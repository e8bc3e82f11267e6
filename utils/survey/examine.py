"""Reads every file of a data set once, and collects what would hurt training."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

from utils.data.class_weights import sum_histograms, weights_from_counts
from utils.data.pairing import name_some
from utils.dataset_info import IGNORE_INDEX
from utils.survey.findings import Level, Problem, ProblemKind, Report, SplitReport
from utils.survey.fourth_channel import summarise_fourth_channels
from utils.survey.sample_facts import ExaminedData, SampleFacts, examine_sample
from utils.survey.value_range import NARROW, fitting_range, measure_range

_NEAR = 8  # differing bits of _SIDE ** 2 up to which two images count as the same
_READ_AGAIN = 50  # images whose stored values are looked at

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


def examine(datasets: Mapping[str, ExaminedData], *, allow_overlap: bool = False) -> Report:
    """Examine the parts of a data set.

    Args:
        datasets: title -> data set; the first one is for training.
        allow_overlap: a file that is in training and in another part is a warning, not an error.

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
    shared = _shared_files(datasets, allow_overlap)
    report.between = shared + _compare_images(facts, shared) + _compare_classes(report)
    report.weights = _weights(facts[report.splits[0].title], info.num_classes)
    return report


def _summarise(title: str, facts: list[SampleFacts], classes: Sequence[str]) -> SplitReport:
    split = SplitReport(title, len(facts))
    sizes = Counter(f"{fact.size[1]}x{fact.size[0]}" for fact in facts if fact.size != (0, 0))
    split.sizes = dict(sizes.most_common())
    _count_classes(split, facts, classes)
    _measure_channels(split, facts)
    _look_at_fourth_channel(split, facts)
    split.problems += _narrow_range(facts)
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


def _look_at_fourth_channel(split: SplitReport, facts: list[SampleFacts]) -> None:
    """Note what the fourth channel of the images holds and how it is read, and warn where these differ."""
    step = max(len(facts) // _READ_AGAIN, 1)
    read = [fact for fact in facts[::step] if fact.sums is not None]
    found = summarise_fourth_channels(Path(fact.file) for fact in read)
    if found is None or not read:
        return
    channels = _channels_of(read)
    text = found.describe(channels)
    if found.is_transparency == (channels == 4):
        split.problems.append(Problem("fourth_channel", "warning", text))
    else:
        split.notes.append(text)


def _narrow_range(facts: list[SampleFacts]) -> list[Problem]:
    """Return a warning where all images together use few of the 256 levels."""
    extents = [fact.extent for fact in facts if fact.extent is not None]
    low, high = min((e[0] for e in extents), default=0), max((e[1] for e in extents), default=255)
    if NARROW * (high - low) >= 255:
        return []
    what = f"images use the levels {low}..{high} of 0..255, less than a quarter"
    step = max(len(facts) // _READ_AGAIN, 1)
    stored = measure_range((Path(fact.file) for fact in facts[::step]), _channels_of(facts))
    if stored is not None:
        fitting = fitting_range(*stored) or stored
        what += f"; the files store {stored[0]}..{stored[1]} in 16 bits: set value_range to {list(fitting)}"
    return [Problem("narrow_range", "warning", what)]


def _channels_of(facts: list[SampleFacts]) -> int:
    """Return the channels with which the images were read."""
    return next(len(fact.sums[0]) for fact in facts if fact.sums is not None)


def _collect(level: Level, items: Iterable[tuple[ProblemKind, str]]) -> list[Problem]:
    """Return one problem of each kind, with all its files."""
    by_kind: dict[ProblemKind, list[str]] = defaultdict(list)
    for kind, file in items:
        by_kind[kind].append(file)
    return [Problem(kind, level, f"{len(files)} {_HEADINGS[kind]}", files) for kind, files in by_kind.items()]


def _shared_files(datasets: Mapping[str, ExaminedData], allowed: bool) -> list[Problem]:
    """Return the files that are in training and in another part, also by way of a link."""
    (first, train), *others = datasets.items()
    known = {os.path.realpath(sample.image) for sample in train.files}
    problems = []
    for title, dataset in others:
        files = [str(sample.image) for sample in dataset.files if os.path.realpath(sample.image) in known]
        if files:
            what = f"{len(files)} image files of {title} are in {first} too"
            what += "" if allowed else "; train.py refuses this unless allow_overlap is true"
            problems.append(Problem("same_file", "warning" if allowed else "error", what, files))
    return problems


def _compare_images(facts: Mapping[str, list[SampleFacts]], shared: list[Problem]) -> list[Problem]:
    """Return the images with equal pixels in two splits, without ``shared`` files, or almost equal ones."""
    problems = []
    named = {file for problem in shared for file in problem.files}
    for first, second in combinations(facts, 2):
        same = _same_images(facts[first], [fact for fact in facts[second] if fact.file not in named])
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
