"""Any data set whose images and masks are files, described in a config."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from base.base_dataloader import BaseDataLoader
from base.base_dataset import BaseDataSet, Sample
from base.checks import check_class_names, check_split
from dataloaders.folder_options import FolderLabels, FolderPixels, FolderSplits, Values, pick, problems_of
from utils.config.annotations import MAY_CHANGE, Fraction, NonNegativeInt, PositiveFloat, PositiveInt
from utils.config.factory import refuse
from utils.data.folder_files import find_files, spelt_out
from utils.data.labels import ColourTable, LabelTable
from utils.data.pairing import listed_pairs, pairs_of_list, require_masks
from utils.data.splits import split_folds, split_groups
from utils.images.read import read_image


class FolderDataSet(BaseDataSet):
    """Images and masks in folders, matched by name.

    Paths are relative to ``data_dir``, and may contain ``{split}``. An image and its mask have the same
    path below their folders, apart from the suffixes: ``imgs/a/7.jpg`` and ``masks/a/7_mask.gif``. Where the
    patterns name different folders, these do not count: ``*/img/*`` and ``*/mask/*``.

    Args:
        data_dir: root of the data.
        classes: names in index order, background included. A single class gets a background before it, with
            the mask value 0 and the colour black.
        split: the text for ``{split}``; without one in a path ``train``, ``val`` or ``all``.
        images: a folder, or a pattern such as ``"scans/**/*.tif"``.
        masks: the same for the masks; ``null`` where there are none.
        image_suffix: end of the image names, before the extension, that the mask names lack.
        mask_suffix: end of the mask names that the image names lack, such as ``"_mask"``.
        values: the mask values of the classes: a list in class order, or ``{"car": 255}``; a class
            may have several: ``[0, [1, 4]]``. ``null``: the masks hold class indices.
        void: mask values without a class. None by default: 255 must be named to be void.
        colors: a colour [r, g, b] for each class, a list or ``{"car": [255, 0, 0]}``: the palette and,
            where ``color_masks`` is true, what the masks hold.
        color_masks: masks are RGB images of ``colors``.
        void_colors: colours without a class.
        list_file: text file that lists the samples of the split: a name, or an image and a mask path; relative
            to ``data_dir``, or else to the current folder. Without ``{split}`` it lists those of all splits.
        val_fraction: draw ``train`` and ``val`` by a fixed seed, with this share in ``val``.
        folds: number of parts of a k-fold split; ``val`` is part ``fold``, ``train`` the others.
        fold: number of the part for ``val``, from 0.
        group: regular expression found in the name; samples with the same match (its first group, if
            it has one) stay in one part.
        channels: number of channels of the images: 3 colour, 1 grey, or that of the files.
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
        data_dir: Annotated[str, MAY_CHANGE],
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
        labels = FolderLabels(classes, values, void, colors, color_masks, void_colors)
        splits = FolderSplits(split, images, masks, list_file, val_fraction, folds, fold, group)
        pixels = FolderPixels(channels, value_range, mean, std)
        refuse(problems_of([labels, splits, pixels], ""))
        self.label_options, self.split_options = labels, splits
        self.value_range = None if value_range is None else (value_range[0], value_range[1])
        self.image_suffix, self.mask_suffix = image_suffix, mask_suffix
        self.classes, self.palette, self.splits = labels.names, labels.colours or None, splits.names
        self.mean, self.std = pixels.statistics
        super().__init__(data_dir, split, **options)

    @classmethod
    def check_arguments(cls, args: Mapping[str, Any], path: str) -> list[str]:
        """Return also the contradictions between the options of classes, splits and images."""
        published = inspect.signature(cls).parameters.values()
        given = {item.name: args.get(item.name, item.default) for item in published}
        splits = pick(FolderSplits, given)
        labels = pick(FolderLabels, given)
        problems = problems_of([labels, splits, pick(FolderPixels, given)], path)
        problems += check_class_names(labels.names, args, path)
        if "split" not in splits.problems():
            problems += check_split(splits.names, splits.split, path)
        return problems + super().check_arguments(args, path)

    def _set_files(self) -> None:
        samples = self._all_samples()
        splits = self.split_options
        if splits.is_drawn and self.split != "all":
            groups = [sample.group or sample.image_id for sample in samples]
            if splits.folds is not None:
                parts = split_folds(groups, splits.folds, splits.fold)
            else:
                parts = split_groups(groups, min(splits.val_fraction or 0.0, 0.999999))
            samples = [samples[index] for index in parts[self.split == "val"]]
        self.files = samples

    def _all_samples(self) -> list[Sample]:
        splits = self.split_options
        if splits.list_file is not None:
            listed = self._find_list(splits.fill(splits.list_file))
            # where every line names both files, folders and suffixes do not matter
            found = listed_pairs(self.root, listed) or list(
                pairs_of_list(self.root, listed, *self._find_both())
            )
        else:
            images, masks = self._find_both()
            if masks is not None:
                require_masks(images, masks, "image_suffix and mask_suffix")
            found = [(name, image, None if masks is None else masks[name]) for name, image in images.items()]
        return [Sample(name, image, mask, splits.group_of(name)) for name, image, mask in found]

    def _find_list(self, text: str) -> Path:
        """Return the path of a list: below the data, or else below the current folder."""
        below = self.root / text
        return Path(text) if not below.is_file() and Path(text).is_file() else below

    def _find_both(self) -> tuple[dict[str, Path], dict[str, Path] | None]:
        """Return images and masks by name; ``None`` for a data set without masks."""
        splits = self.split_options
        texts = [splits.fill(text) for text in (splits.images, splits.masks or splits.images)]
        # */img/* and */mask/*: names without img and mask
        varying = spelt_out(texts[0]) != spelt_out(texts[1])
        images = find_files(self.root, texts[0], self.image_suffix, varying=varying)
        if splits.masks is None:
            return images, None
        masks = find_files(self.root, texts[1], self.mask_suffix, varying=varying)
        taken = set(masks.values())  # both kinds may lie in one folder
        return {name: path for name, path in images.items() if path not in taken}, masks

    def _make_table(self) -> LabelTable | ColourTable:
        return self.label_options.table()

    def _read_image(self, sample: Sample, reduce: int = 1) -> np.ndarray:
        return read_image(
            sample.image, len(self.mean), self.info.fill_colour, reduce=reduce, value_range=self.value_range
        )


class Folder(BaseDataLoader):
    """Batches of :class:`FolderDataSet`."""

    dataset_class = FolderDataSet
