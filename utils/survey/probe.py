"""A first look at a folder: its pairs of images and masks, and the contents of both."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from utils.data.pairing import name_some
from utils.errors import DataError
from utils.images.header import image_size
from utils.images.masks import MaskValue, count_mask_values, read_mask
from utils.survey.fourth_channel import read_fourth_channel
from utils.survey.pairs import MOST_VALUES, FolderPairs, find_pairs, listed_names
from utils.survey.value_range import fitting_range, measure_range

_IMAGES_READ = 200  # images whose sizes are read
_RANGES_READ = 100  # images of 16 bits whose values are read
_MASKS_READ = 3000  # masks whose values are read
_ODD = 0.1  # of the masks: so many of another kind are named and left out of the proposal
_MASKS_MEASURED = 30  # masks whose objects are measured


@dataclass
class FolderFindings(FolderPairs):
    """Pairs of a folder and their contents.

    Attributes:
        channels: channels of the images.
        extent: lowest and highest value that 16-bit images store; ``None`` for images of 8 bits.
        sizes: (height, width) of the images.
        counts: pixels of each mask value, or of each colour.
        unreadable: an error message for each image or mask that cannot be read or does not fit the others.
        thickness: median over masks of the diameter of the largest circle that fits into an object, as a
            share of the mask's shorter side.
    """

    channels: int = 3
    extent: tuple[int, int] | None = None
    sizes: list[tuple[int, int]] = field(default_factory=list)
    counts: Counter[MaskValue] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    thickness: float = 0.0

    @property
    def value_range(self) -> tuple[int, int] | None:
        """The values that become black and white; ``None`` for those of the file format."""
        return None if self.extent is None else fitting_range(*self.extent)

    @property
    def colour_masks(self) -> bool:
        """True where the masks hold colours, not class indices."""
        return any(isinstance(value, tuple) for value in self.counts)


def probe(root: Path) -> FolderFindings:
    """Find images and masks below a folder and read what they hold.

    Raises:
        DataError: no images, none that can be matched with masks by name, or some masks hold colours
            and others class indices.
    """
    found = FolderFindings(**vars(find_pairs(root)))
    _list_the_paired(found, root)
    _read_images(found)
    _count_values(found)
    known = set(found.unreadable)  # most of what pairing came across is found again
    found.unreadable += [problem for problem in found.odd if problem not in known]
    found.thickness = _median_thickness(found)
    return found


def _list_the_paired(found: FolderFindings, root: Path) -> None:
    """Have the pairs listed where some images have no mask, which a pattern would name too."""
    masks = {mask for _, mask in found.pairs}
    if found.unpaired and not found.splits and not found.listed and len(masks) == len(found.pairs):
        found.listed = True
        found.keys = listed_names((image.relative_to(root), mask) for image, mask in found.pairs)


def _read_images(found: FolderFindings) -> None:
    channels: Counter[int] = Counter()
    for image, _ in found.pairs[:_IMAGES_READ]:
        try:
            found.sizes.append(image_size(image))
            channels[_channels(image)] += 1
        except DataError as error:
            found.unreadable.append(str(error))
    if not channels:
        raise DataError(found.unreadable[0], kind="unreadable", paths=[found.pairs[0][0]])
    found.channels = channels.most_common(1)[0][0]
    step = max(len(found.pairs) // _RANGES_READ, 1)
    found.extent = measure_range((image for image, _ in found.pairs[::step]), found.channels)


def _channels(path: Path) -> int:
    if path.suffix.lower() == ".npy":
        shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
        return int(shape[2]) if len(shape) == 3 else 1
    with Image.open(path) as image:
        mode = image.mode
    fourth = read_fourth_channel(path)
    if fourth is not None:
        return 3 if fourth.is_transparency else 4
    return 1 if mode in ("1", "L") or mode.startswith(("I", "F")) else 3


def _count_values(found: FolderFindings) -> None:
    step = max(len(found.pairs) // _MASKS_READ, 1)
    masks = [mask for _, mask in found.pairs[::step]]
    counted: dict[bool, list[tuple[Path, dict[MaskValue, int]]]] = {False: [], True: []}  # whether of colours
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for path, result in zip(masks, pool.map(_try_to_count, masks), strict=True):
            if isinstance(result, DataError):
                found.unreadable.append(str(result))
            else:
                counted[any(isinstance(value, tuple) for value in result)].append((path, result))
    few, many = sorted((counted[True], counted[False]), key=len)
    kinds = ("colours", "class indices") if few is counted[True] else ("class indices", "colours")
    if few and len(few) > _ODD * len(many):
        text = (
            f"{few[0][0]} holds {kinds[0]}, {many[0][0]} {kinds[1]}; convert all masks to one kind "
            f"({len(few)} of {len(few) + len(many)} hold {kinds[0]}: {name_some([path for path, _ in few])})"
        )
        raise DataError(text, kind="unsuitable", paths=[few[0][0], many[0][0]])
    found.unreadable += [f"{path} holds {kinds[0]}, unlike the other masks" for path, _ in few]
    for _, result in many:
        found.counts.update(result)


def _try_to_count(path: Path) -> dict[MaskValue, int] | DataError:
    try:
        counts = count_mask_values(path)
    except DataError as error:
        return error
    if len(counts) > MOST_VALUES:
        text = f"{path} holds {len(counts)} values, more than the {MOST_VALUES} of a mask"
        return DataError(text, kind="unsuitable", paths=[path])
    return counts


def _median_thickness(found: FolderFindings) -> float:
    """Return the median thickness of objects: of all pixels that do not have the most common value.

    Returns:
        A share of the shorter side; 0 for colour masks, which are not measured.
    """
    if found.colour_masks or not found.counts:
        return 0.0
    background = found.counts.most_common(1)[0][0]
    step = max(len(found.pairs) // _MASKS_MEASURED, 1)
    shares = []
    for _, path in found.pairs[::step]:
        with suppress(DataError):  # reported when its values were counted
            mask = read_mask(path)
            objects = np.pad((mask != background).astype(np.uint8), 1)  # the image border ends an object
            radius = float(cv2.distanceTransform(objects, cv2.DIST_L2, cv2.DIST_MASK_5).max())
            shares.append(2 * radius / min(mask.shape))
    return float(np.median(shares)) if shares else 0.0
