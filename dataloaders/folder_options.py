"""The options of a ``Folder`` data set in three groups, each of which finds its own contradictions."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeVar

from utils.config.factory import Problem, join
from utils.data.labels import Colour, ColourTable, LabelTable
from utils.data.pairing import name_some
from utils.dataset_info import IGNORE_INDEX, IMAGENET_MEAN, IMAGENET_STD

T = TypeVar("T")
Values = int | list[int]
ByClass = Sequence[T] | Mapping[str, T]


class Group(Protocol):
    """Options that belong together."""

    def problems(self) -> dict[str, str]:
        """Return the reason why an option is refused, by the name of the option."""


def problems_of(groups: Sequence[Group], path: str) -> list[str]:
    """Return every contradiction in groups of options, one line each with its JSON path."""
    return [
        Problem(join(path, name), reason) for group in groups for name, reason in group.problems().items()
    ]


def pick(kind: type[T], options: Mapping[str, Any]) -> T:
    """Make a group from those of the options that it names."""
    return kind(**{item.name: options[item.name] for item in fields(kind)})  # type: ignore[arg-type]


@dataclass(frozen=True)
class FolderLabels:
    """Class names, and the values or colours of the classes in the masks.

    The attributes are the options of the same names of :class:`~dataloaders.folder.FolderDataSet`.
    """

    classes: Sequence[str]
    values: ByClass[Values] | None
    void: Sequence[int] | None
    colors: ByClass[Sequence[int]] | None
    color_masks: bool
    void_colors: Sequence[Sequence[int]] | None

    @property
    def names(self) -> tuple[str, ...]:
        """The class names; a single class comes after a background."""
        return ("background", *self.classes) if len(self.classes) == 1 else tuple(self.classes)

    @property
    def colours(self) -> tuple[Colour, ...]:
        """A colour for each class; empty where none are given."""
        return tuple(map(_rgb, self._by_class(self.colors, (0, 0, 0)).values()))

    def problems(self) -> dict[str, str]:
        """Return the reason why an option is refused, by the name of the option."""
        found: dict[str, str] = {}
        if len(set(self.classes)) < len(self.classes):
            found["classes"] = "two classes have the same name"
        for name, given in (("values", self.values), ("colors", self.colors)):
            if given is not None and (reason := _mismatch(given, self.classes)):
                found[name] = reason
        found = {**self._wrong_colours(), **found}
        if self.color_masks and not self.colors:
            found["color_masks"] = "give the colours of the classes in 'colors'"
        elif self.color_masks and (self.values is not None or self.void):
            found["color_masks"] = "masks have either colours or 'values' and 'void'"
        return found or self._ambiguities()

    def table(self) -> LabelTable | ColourTable:
        """Return the class index, or void, of each value or colour of the masks."""
        if self.color_masks:
            void = {_rgb(colour): IGNORE_INDEX for colour in self.void_colors or ()}
            return ColourTable({**void, **{colour: index for index, colour in enumerate(self.colours)}})
        indices = {value: IGNORE_INDEX for value in self.void or ()}
        return LabelTable({**indices, **dict(self._values_of_classes())}, len(self.names))

    def _wrong_colours(self) -> dict[str, str]:
        found: dict[str, str] = {}
        own = self.colors.values() if isinstance(self.colors, Mapping) else self.colors
        for name, colours in (("colors", own), ("void_colors", self.void_colors)):
            for colour in colours or ():
                if len(colour) != 3 or max(colour) > 255:
                    reason = f"{list(colour)} is no colour; write [red, green, blue] of 0 to 255"
                    found.setdefault(name, reason)
        return found

    def _ambiguities(self) -> dict[str, str]:
        if self.color_masks:
            repeated = len(set(self.colours)) < len(self.colours)
            return {"colors": "two classes have the same colour"} if repeated else {}
        seen = set(self.void or ())
        for value, _ in self._values_of_classes():
            if value in seen:
                reason = f"the mask value {value} is given two meanings in 'values' and 'void'"
                return {"values": reason}
            seen.add(value)
        return {}

    def _values_of_classes(self) -> Iterator[tuple[int, int]]:
        """Yield each mask value of each class, with the index of the class."""
        given: list[Values] = list(self._by_class(self.values, 0).values()) or list(range(len(self.names)))
        for index, values in enumerate(given):
            for value in values if isinstance(values, list) else [values]:
                yield value, index

    def _by_class(self, given: ByClass[T] | None, background: T) -> dict[str, T]:
        if given is None:
            return {}
        items = [given[name] for name in self.classes] if isinstance(given, Mapping) else given
        return dict(zip(self.names, [background, *items] if len(self.classes) == 1 else items, strict=True))


@dataclass(frozen=True)
class FolderSplits:
    """The source of the splits, and the groups that they keep together.

    The attributes are the options of the same names of :class:`~dataloaders.folder.FolderDataSet`.
    """

    split: str
    images: str
    masks: str | None
    list_file: str | None
    val_fraction: float | None
    folds: int | None
    fold: int
    group: str | None

    @property
    def is_drawn(self) -> bool:
        """True if ``train`` and ``val`` are drawn from all samples."""
        return self.val_fraction is not None or self.folds is not None

    @property
    def names(self) -> tuple[str, ...]:
        """The splits that the options describe."""
        if self._is_named:
            return (self.split,)
        return ("train", "val", "all") if self.is_drawn else ("train", "all", "test")

    def problems(self) -> dict[str, str]:
        """Return the reason why an option is refused, by the name of the option."""
        found: dict[str, str] = {}
        drawn = [name for name in ("val_fraction", "folds") if getattr(self, name) is not None]
        if self._is_named + len(drawn) > 1:
            reason = "splits come either from {split}, or from val_fraction, or from folds"
            found[drawn[0]] = reason
        if self.folds is not None and not self.fold < self.folds > 1:
            found["fold"] = (
                f"there is no fold {self.fold} of {self.folds}; folds is at least 2, and fold below it"
            )
        if self.split == "val" and "val" not in self.names:
            found["split"] = "'val' is not defined; use {split} in a path, val_fraction or folds"
        try:
            _ = self._pattern
        except re.error as error:
            found["group"] = f"'{self.group}' is no regular expression: {error}"
        return found

    def fill(self, text: str) -> str:
        """Return a path with the split in place of ``{split}``."""
        return text.replace("{split}", self.split)

    def group_of(self, name: str) -> str:
        """Return the group of a sample; empty where the name has no match."""
        match = self._pattern.search(name) if self._pattern else None
        return "" if match is None else str(match.group(1 if match.re.groups else 0))

    @property
    def _is_named(self) -> bool:
        return any("{split}" in str(text) for text in (self.images, self.masks, self.list_file))

    @functools.cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        return None if self.group is None else re.compile(self.group)


@dataclass(frozen=True)
class FolderPixels:
    """Channels of the images and their normalisation.

    The attributes are the options of the same names of :class:`~dataloaders.folder.FolderDataSet`.
    """

    channels: int
    value_range: tuple[int, int] | None
    mean: Sequence[float] | None
    std: Sequence[float] | None

    @property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel in 0..1."""
        if self.channels == 3:
            return tuple(self.mean or IMAGENET_MEAN), tuple(self.std or IMAGENET_STD)
        return tuple(self.mean or (0.5,) * self.channels), tuple(self.std or (0.25,) * self.channels)

    def problems(self) -> dict[str, str]:
        """Return the reason why an option is refused, by the name of the option."""
        found: dict[str, str] = {}
        if self.value_range is not None and self.value_range[0] >= self.value_range[1]:
            found["value_range"] = f"{list(self.value_range)} is no range; write [lowest, highest]"
        for name, given in (("mean", self.mean), ("std", self.std)):
            if given is not None and len(given) != self.channels:
                found[name] = f"{len(given)} numbers for {self.channels} channels"
        return found


def _mismatch(given: ByClass[Any], classes: Sequence[str]) -> str:
    """Return why a list or an object does not have one entry for each class; empty if it does."""
    if not isinstance(given, Mapping):
        return "" if len(given) == len(classes) else f"{len(given)} entries for {len(classes)} classes"
    unknown, missing = sorted(set(given) - set(classes)), [name for name in classes if name not in given]
    if not (unknown or missing):
        return ""
    text = f"unknown: {name_some(unknown)}" if unknown else f"missing: {name_some(missing)}"
    return f"its names must be those in 'classes'; {text}"


def _rgb(colour: Sequence[int]) -> Colour:
    red, green, blue = (int(value) for value in colour)
    return red, green, blue
