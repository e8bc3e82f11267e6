"""Any data set whose images and masks are files: described in the config, no Python needed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from base.base_dataloader import BaseDataLoader
from base.base_dataset import BaseDataSet, Sample
from utils.config.annotations import Fraction, NonNegativeInt, PositiveFloat, PositiveInt
from utils.data.labels import ColourTable, LabelTable
from utils.data.pairing import find_files, name_some, pairs_of_list
from utils.data.splits import split_folds, split_groups
from utils.dataset_info import IGNORE_INDEX, IMAGENET_MEAN, IMAGENET_STD
from utils.errors import DataError
from utils.images.read import read_image

Values = int | list[int]


class FolderDataSet(BaseDataSet):
    """Images and masks in folders, matched by name.

    Paths are relative to ``data_dir``, and may hold ``{split}``. An image and its mask have the same
    path below their folders once the suffixes are taken off: ``imgs/a/7.jpg`` and ``masks/a/7_mask.gif``.

    Args:
        data_dir: root of the data.
        classes: names in index order, background included. One name alone stands against a background
            that is put before it, with the mask value 0 and the colour black.
        split: fills ``{split}``; else ``train``, ``val`` or ``all``.
        images: a folder, or a pattern such as ``"scans/**/*.tif"``.
        masks: the same of the masks; ``null`` where there are none.
        image_suffix: end of the image names, before the extension, that the mask names lack.
        mask_suffix: end of the mask names that the image names lack, such as ``"_mask"``.
        values: the mask values of the classes: a list in class order, or ``{"car": 255}``; a class
            may have several: ``[0, [1, 4]]``. ``null``: the masks hold class indices.
        void: mask values without a class. None by default: 255 must be named to be void.
        colors: a colour [r, g, b] for each class, a list or ``{"car": [255, 0, 0]}``: the palette and,
            where ``color_masks`` is true, what the masks hold.
        color_masks: masks are RGB pictures of ``colors``.
        void_colors: colours without a class.
        list_file: text file that lists the samples of the split: a name, or an image and a mask path.
        val_fraction: ``train`` and ``val`` are a seeded split, this share is ``val``.
        folds: number of parts of a k-fold split; ``val`` is part ``fold``, ``train`` the others.
        fold: which part, from 0.
        group: regular expression found in the name; samples with the same match (its first group, if
            it has one) stay in one part.
        channels: channels of the images: 3 colour, 1 grey, or what the files hold.
        value_range: [lowest, highest] of 16-bit images, stretched to the full range.
        mean: mean of each channel in 0..1; ``null``: ImageNet's, or 0.5 where there are not 3 channels.
        std: standard deviation of each channel in 0..1; ``null``: ImageNet's, or 0.25.
        options: those of :class:`~base.base_dataset.BaseDataSet`.

    Raises:
        ValueError: options that contradict each other.
        DataError: no files, an image without its mask, names that occur twice.
    """

    def __init__(
        self,
        data_dir: str,
        classes: list[str],
        split: str = "train",
        images: str = "images",
        masks: str | None = "masks",
        image_suffix: str = "",
        mask_suffix: str = "",
        values: list[Values] | dict[str, Values] | None = None,
        void: list[int] | None = None,
        colors: list[list[NonNegativeInt]] | dict[str, list[NonNegativeInt]] | None = None,
        color_masks: bool = False,
        void_colors: list[list[NonNegativeInt]] | None = None,
        list_file: str | None = None,
        val_fraction: Fraction | None = None,
        folds: PositiveInt | None = None,
        fold: NonNegativeInt = 0,
        group: str | None = None,
        channels: PositiveInt = 3,
        value_range: tuple[NonNegativeInt, PositiveInt] | None = None,
        mean: list[Fraction] | None = None,
        std: list[PositiveFloat] | None = None,
        **options: Any,
    ) -> None:
        if len(classes) == 1:
            classes, values, colors = _beside_background(classes[0], values, colors)
        self.classes = tuple(classes)
        self.images, self.masks = images, masks
        self.image_suffix, self.mask_suffix = image_suffix, mask_suffix
        self.list_file = list_file
        self.val_fraction, self.folds, self.fold = val_fraction, folds, fold
        self.group = _pattern(group)
        if value_range is not None and value_range[0] >= value_range[1]:
            raise ValueError(f"value_range: {list(value_range)} is no range; write [lowest, highest]")
        self.value_range = None if value_range is None else (value_range[0], value_range[1])
        self.mean, self.std = _statistics(channels, mean, std)
        self.splits = self._choose_splits(split)
        self._values = _by_class("values", values, self.classes)
        self._void = list(void or ())
        self._colours = {
            n: _colour("colors", c) for n, c in _by_class("colors", colors, self.classes).items()
        }
        self._void_colours = [_colour("void_colors", colour) for colour in void_colors or ()]
        self.palette = tuple(self._colours.values()) or None
        self.color_masks = color_masks
        if color_masks and not colors:
            raise ValueError("color_masks: give the colours of the classes in 'colors'")
        if color_masks and (values is not None or void):
            raise ValueError("color_masks: masks have either colours or 'values' and 'void'")
        super().__init__(data_dir, split, **options)

    def _choose_splits(self, split: str) -> tuple[str, ...]:
        """The splits that the options describe."""
        named = any("{split}" in str(text) for text in (self.images, self.masks, self.list_file))
        drawn = sum(given is not None for given in (self.val_fraction, self.folds))
        if named + drawn > 1 or (self.list_file and drawn):
            raise ValueError(
                "splits come either from {split} or list_file, or from val_fraction, or from folds"
            )
        if self.folds is not None and not self.fold < self.folds > 1:
            raise ValueError(f"fold {self.fold} of {self.folds}: folds is at least 2, and fold below it")
        if named:
            return (split,)
        if drawn:
            return ("train", "val", "all")
        if split == "val":
            raise ValueError("split 'val': say what it is with {split} in a path, val_fraction or folds")
        return ("train", "all", "test")

    def _set_files(self) -> None:
        samples = self._all_samples()
        if self.split in ("train", "val") and (self.val_fraction is not None or self.folds is not None):
            groups = [sample.group or sample.image_id for sample in samples]
            if self.folds is not None:
                parts = split_folds(groups, self.folds, self.fold)
            else:
                parts = split_groups(groups, min(self.val_fraction or 0.0, 0.999999))
            samples = [samples[index] for index in parts[self.split == "val"]]
        self.files = samples

    def _all_samples(self) -> list[Sample]:
        images, masks = (
            None if text is None else find_files(self.root, text.replace("{split}", self.split), suffix)
            for text, suffix in ((self.images, self.image_suffix), (self.masks, self.mask_suffix))
        )
        assert images is not None
        if masks is not None:  # both kinds may lie in one folder
            taken = set(masks.values())
            images = {name: path for name, path in images.items() if path not in taken}
        if self.list_file is not None:
            listed = self.root / self.list_file.replace("{split}", self.split)
            found = pairs_of_list(self.root, listed, images, masks)
        elif masks is None:
            found = [(name, image, None) for name, image in images.items()]
        else:
            _require_masks(images, masks)
            found = [(name, image, masks[name]) for name, image in images.items()]
        return [Sample(name, image, mask, self._group_of(name)) for name, image, mask in found]

    def _group_of(self, name: str) -> str:
        match = self.group.search(name) if self.group else None
        return "" if match is None else match.group(1 if match.re.groups else 0)

    def _make_table(self) -> LabelTable | ColourTable:
        if self.color_masks:
            classes = {colour: index for index, colour in enumerate(self._colours.values())}
            if len(classes) < len(self.classes):
                raise ValueError("colors: two classes have the same colour")
            return ColourTable({**{colour: IGNORE_INDEX for colour in self._void_colours}, **classes})
        raw = self._values or {name: index for index, name in enumerate(self.classes)}
        indices = {value: IGNORE_INDEX for value in self._void}
        for index, name in enumerate(self.classes):
            for value in raw[name] if isinstance(raw[name], list) else [raw[name]]:
                if value in indices:
                    raise ValueError(f"the mask value {value} is given two meanings in 'values' and 'void'")
                indices[value] = index
        return LabelTable(indices, len(self.classes))

    def _read_image(self, sample: Sample, reduce: int = 1) -> np.ndarray:
        return read_image(
            sample.image, len(self.mean), self.info.fill_colour, reduce=reduce, value_range=self.value_range
        )


class Folder(BaseDataLoader):
    """Batches of :class:`FolderDataSet`."""

    dataset_class = FolderDataSet


def _beside_background(name: str, values: Any, colors: Any) -> tuple[list[str], Any, Any]:
    """The options of a data set with one class, with the background as its first."""
    given = _by_class("values", values, [name]), _by_class("colors", colors, [name])
    values, colors = (
        {"background": nothing, **items} if items else None
        for nothing, items in zip((0, [0, 0, 0]), given, strict=True)
    )
    return ["background", name], values, colors


def _by_class(what: str, given: Any, classes: Iterable[str]) -> dict[str, Any]:
    """``given`` as class name -> item, from a list in class order or an object."""
    names = list(classes)
    if given is None:
        return {}
    if isinstance(given, Mapping):
        unknown, missing = sorted(set(given) - set(names)), [name for name in names if name not in given]
        if unknown or missing:
            text = f"unknown: {name_some(unknown)}" if unknown else f"missing: {name_some(missing)}"
            raise ValueError(f"{what}: its names must be those in 'classes'; {text}")
        return {name: given[name] for name in names}
    if len(given) != len(names):
        raise ValueError(f"{what}: {len(given)} entries for {len(names)} classes")
    return dict(zip(names, given, strict=True))


def _colour(what: str, colour: Iterable[int]) -> tuple[int, int, int]:
    values = tuple(int(value) for value in colour)
    if len(values) != 3 or max(values) > 255:
        raise ValueError(f"{what}: {list(values)} is no colour; write [red, green, blue] of 0 to 255")
    return values


def _pattern(text: str | None) -> re.Pattern[str] | None:
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise ValueError(f"group: '{text}' is no regular expression: {error}") from error


def _statistics(
    channels: int, mean: list[float] | None, std: list[float] | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    for name, given in (("mean", mean), ("std", std)):
        if given is not None and len(given) != channels:
            raise ValueError(f"{name}: {len(given)} numbers for {channels} channels")
    default = (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else ((0.5,) * channels, (0.25,) * channels)
    return tuple(mean or default[0]), tuple(std or default[1])


def _require_masks(images: Mapping[str, Path], masks: Mapping[str, Path]) -> None:
    missing = [path for name, path in images.items() if name not in masks]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(images)} images have no mask: {name_some(missing)}; "
            "masks are matched by name, see image_suffix and mask_suffix"
        )
