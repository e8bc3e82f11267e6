"""Labelled pairs that join pseudo-labels, and the unlabelled images that are not among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.data.folder_files import find_files
from utils.data.labels import LabelTable
from utils.data.pairing import require_masks
from utils.dataset_info import IGNORE_INDEX
from utils.errors import ConfigError, DataError
from utils.images.header import image_size
from utils.images.masks import read_mask
from utils.inference.inputs import ImageFile
from utils.system.tensor_file import sha256_of


class LabelledPair(NamedTuple):
    """An image and its mask.

    Attributes:
        name: path below the folder of the images, without the extension.
        image: file of the image.
        mask: file of the mask.
    """

    name: str
    image: Path
    mask: Path


def find_pairs(images: str, masks: str, mask_suffix: str = "") -> list[LabelledPair]:
    """Pair the images and masks of two folders or patterns by name, as the data set ``Folder`` does.

    Raises:
        DataError: a folder is missing or empty, or an image has no mask.
    """
    found, labels = find_files(Path(), images), find_files(Path(), masks, mask_suffix)
    require_masks(found, labels, "--mask-suffix", prefix="--labelled: ")
    return [LabelledPair(name, path, labels[name]) for name, path in found.items()]


def mask_table(
    num_classes: int, values: Sequence[int] | None = None, void: Sequence[int] | None = None
) -> LabelTable:
    """Return the class index of each value of the labelled masks.

    Args:
        num_classes: number of classes.
        values: value of each class in index order; ``None``: the masks hold class indices.
        void: values without a class; ``None``: 255, where it is no class.

    Raises:
        ConfigError: the values are not one for each class, or one has two meanings.
    """
    own = list(range(num_classes)) if values is None else list(values)
    if len(own) != num_classes:
        raise ConfigError(f"--values: {len(own)} numbers for {num_classes} classes")
    empty = list(void) if void is not None else [IGNORE_INDEX] * (IGNORE_INDEX not in own)
    twice = [value for value in (*own, *empty) if (*own, *empty).count(value) > 1]
    if twice:
        raise ConfigError(f"--values, --void: the mask value {twice[0]} is given two meanings")
    indices = dict.fromkeys(empty, IGNORE_INDEX) | {value: index for index, value in enumerate(own)}
    return LabelTable(indices, num_classes)


def read_label(pair: LabelledPair, table: LabelTable) -> np.ndarray:
    """Read the class indices (H, W) uint8 of a pair, void 255.

    Raises:
        DataError: the mask cannot be read, holds another value, or is not of the size of its image.
    """
    label = table.encode(read_mask(pair.mask), str(pair.mask))
    height, width = image_size(pair.image)
    if label.shape != (height, width):
        raise DataError(
            f"{pair.image} is {width}x{height} pixels, its mask {pair.mask} {label.shape[1]}x{label.shape[0]}",
            kind="size_mismatch",
            paths=[pair.image, pair.mask],
        )
    return label


def without_labelled(images: Iterable[ImageFile], pairs: Sequence[LabelledPair]) -> list[ImageFile]:
    """Leave out images that are files of labelled pairs, or copies of them."""
    sizes: dict[int, list[Path]] = {}
    for pair in pairs:
        sizes.setdefault(pair.image.stat().st_size, []).append(pair.image)
    return [image for image in images if not _is_among(image.path, sizes)]


def _is_among(path: Path, sizes: dict[int, list[Path]]) -> bool:
    alike = sizes.get(path.stat().st_size, []) if path.is_file() else []
    if not alike:
        return False
    if any(path.samefile(other) for other in alike):
        return True
    digest = sha256_of(path)
    return any(sha256_of(other) == digest for other in alike)
