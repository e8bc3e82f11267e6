"""Results of the examination of a data set, as text for people and as plain types for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

_SHOWN = 5  # files named per problem

Level = Literal["error", "warning"]
ProblemKind = Literal[
    "unreadable_image",
    "unreadable_mask",
    "unknown_value",
    "unknown_colour",
    "colour_mask",
    "jpeg_mask",
    "size_mismatch",
    "exif_rotation",
    "void_mask",
    "one_class",
    "fourth_channel",  # read as something else than it looks like
    "narrow_range",  # of pixel values
    "absent_class",  # in no mask of a split
    "unseen_class",  # in another split, but not in training
    "same_file",  # in training and in another split
    "same_image",  # in two splits
    "similar_image",
    "batch_size",  # more than the images
]


@dataclass
class Problem:
    """All occurrences of one kind of mistake.

    Attributes:
        kind: the mistake, for programs.
        level: ``error`` where training would fail, else ``warning``.
        what: one sentence, for people.
        files: the files concerned.
    """

    kind: ProblemKind
    level: Level
    what: str
    files: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the sentence and the first files."""
        more = len(self.files) - _SHOWN
        return [
            f"  {self.level.upper()}: {self.what}",
            *(f"      {name}" for name in self.files[:_SHOWN]),
            *([f"      ... and {more} more"] if more > 0 else []),
        ]


@dataclass
class SplitReport:
    """Results for one part of the data.

    Attributes:
        title: loader and split.
        images: number of samples.
        sizes: ``WIDTHxHEIGHT`` -> number of images, the most frequent first.
        pixels: pixels of each class.
        void: pixels without a class.
        images_with: images that hold each class.
        mean: mean of each channel in 0..1.
        std: standard deviation of each channel in 0..1.
        notes: further facts, one line each.
        problems: mistakes within this part.
    """

    title: str
    images: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    pixels: list[int] = field(default_factory=list)
    void: int = 0
    images_with: list[int] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    std: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def lines(self, classes: Sequence[str]) -> list[str]:
        """Return sizes, channel statistics, class shares and problems as lines of text."""
        sizes = ", ".join(f"{size} ({count})" for size, count in list(self.sizes.items())[:4])
        out = [
            f"{self.title}: {self.images} images; width x height: {sizes}"
            + (" ..." if len(self.sizes) > 4 else "")
        ]
        if self.mean:
            out.append(f"  channel mean {_numbers(self.mean)}, standard deviation {_numbers(self.std)}")
        total = sum(self.pixels)
        if total:
            width = max(map(len, classes))
            for name, pixels, held in zip(classes, self.pixels, self.images_with, strict=True):
                out.append(
                    f"  {name:<{width}}  {pixels / total:8.3%} of the labelled pixels, in {held} images"
                )
            out.append(f"  {'(void)':<{width}}  {self.void / (total + self.void):8.3%} of all pixels")
        out += [f"  {note}" for note in self.notes]
        for problem in self.problems:
            out += problem.lines()
        return out


@dataclass
class Report:
    """Results for all parts of a data set.

    Attributes:
        classes: class names in index order.
        splits: results for each part.
        between: problems of two parts together.
        weights: class weights by median frequency balancing; empty without labels.
    """

    classes: list[str]
    splits: list[SplitReport] = field(default_factory=list)
    between: list[Problem] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """True where training would fail."""
        return any(problem.level == "error" for problem in self.problems())

    def problems(self) -> list[Problem]:
        """Return the problems within and between all parts."""
        return [problem for split in self.splits for problem in split.problems] + self.between

    def text(self) -> str:
        """Return the report for people; its last line says whether training would fail."""
        lines = []
        for split in self.splits:
            lines += [*split.lines(self.classes), ""]
        if self.between:
            lines.append("between the splits:")
            for problem in self.between:
                lines += problem.lines()
            lines.append("")
        if self.weights:
            lines.append('class weights by "class_weights": "median":')
            lines.append(
                "  " + ", ".join(f"{n} {w:.3g}" for n, w in zip(self.classes, self.weights, strict=True))
            )
            lines.append("")
        errors = sum(problem.level == "error" for problem in self.problems())
        warnings = len(self.problems()) - errors
        verdict = "training would fail" if errors else "ready to train"
        lines.append(f"{errors} errors, {warnings} warnings: {verdict}")
        return "\n".join(lines)

    def to_plain(self) -> dict[str, Any]:
        """Return plain types, for JSON."""
        return {**asdict(self), "failed": self.failed}


def _numbers(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.3f}" for value in np.asarray(values)) + "]"
