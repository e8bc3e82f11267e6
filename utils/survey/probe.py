"""Looks at a folder of images and masks and tells how they belong together and what the masks hold."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from utils.data.pairing import IMAGE_SUFFIXES, name_some, require_folder
from utils.errors import DataError
from utils.images.header import image_size
from utils.images.masks import read_colour_mask, read_mask

_DEPTH = 4  # folders below the root that are looked into
_IMAGES_READ = 200  # images whose sizes are read
_MASKS_READ = 3000  # masks whose values are read
_TRIED = 5  # masks of a folder that are opened to see whether it holds masks
_MASKS_MEASURED = 30
_MOST_VALUES = 64  # more distinct values are no classes
_TRAIN, _VAL = ("train", "training"), ("val", "validation", "valid", "test")
_SEPARATORS = "_-. "


@dataclass
class Findings:
    """What was found; paths are relative to the root.

    Attributes:
        images: folder or pattern of the images, with ``{split}`` where there are folders of splits.
        masks: the same of the masks.
        image_suffix: end of the image names that the masks' lack.
        mask_suffix: end of the mask names that the images' lack.
        splits: names that fill ``{split}``: of training, of validation; empty where there are none.
        pairs: image and mask files.
        unpaired: images without a mask.
        channels: of the images.
        sizes: (height, width) of the images.
        counts: pixels of each mask value, or of each colour.
        unreadable: masks that could not be read, with the reason.
        thickness: of the things in the masks: what circle fits into them, as a share of the shorter side.
    """

    images: str
    masks: str
    image_suffix: str
    mask_suffix: str
    pairs: list[tuple[Path, Path]]
    unpaired: list[Path] = field(default_factory=list)
    splits: tuple[str, ...] = ()
    channels: int = 3
    sizes: list[tuple[int, int]] = field(default_factory=list)
    counts: Counter[int] | Counter[tuple[int, int, int]] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    thickness: float = 0.0

    @property
    def names(self) -> list[str]:
        """What the names of an image and its mask have in common, for each pair."""
        return [image.stem.removesuffix(self.image_suffix) for image, _ in self.pairs]

    @property
    def colour_masks(self) -> bool:
        return any(isinstance(value, tuple) for value in self.counts)


def probe(root: Path) -> Findings:
    """Find images and masks below a folder.

    Raises:
        DataError: no images, or none that can be matched with masks by name.
    """
    require_folder(root)
    folders = _image_folders(root)
    if not folders:
        raise DataError(f"{root}: no image files in it or in the folders below")
    found = _best_pairing(root, folders)
    if found is None:
        names = name_some([str(folder.relative_to(root)) for folder in folders])
        raise DataError(
            f"{root}: found images in {names}, but no two sets of files whose names match as images and "
            "masks; name a mask as its image, with a common ending if you like: 7.jpg and 7_mask.png"
        )
    _find_splits(root, found, folders)
    _look_at_images(found)
    _count_values(found)
    _measure_things(found)
    return found


# ---- pairs ---------------------------------------------------------------------------------------


def _image_folders(root: Path) -> dict[Path, list[Path]]:
    """Folders that hold images, with their files."""
    found: dict[Path, list[Path]] = {}
    todo = [(root, 0)]
    while todo:
        folder, depth = todo.pop()
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
        files = [entry for entry in entries if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()]
        if files:
            found[folder] = files
        if depth < _DEPTH:
            todo += [(entry, depth + 1) for entry in entries if entry.is_dir()]
    return dict(sorted(found.items()))


def _best_pairing(root: Path, folders: dict[Path, list[Path]]) -> Findings | None:
    """The two folders, or the two kinds of files in one, of which the most names match."""
    best: tuple[tuple[int, int], Findings] | None = None
    for images, masks in product(folders, folders):
        for candidate in _pairings(root, images, folders[images], masks, folders[masks]):
            if not _fit(candidate.pairs):
                continue
            training = any(part.lower() in _TRAIN for part in images.relative_to(root).parts)
            score = (len(candidate.pairs) - len(candidate.unpaired), int(training))
            if best is None or score > best[0]:
                best = (score, candidate)
    return None if best is None else best[1]


def _pairings(
    root: Path, images: Path, image_files: list[Path], masks: Path, mask_files: list[Path]
) -> list[Findings]:
    same = images == masks
    found = []
    image_endings = {"", _common_ending(image_files)}
    mask_endings = _endings(mask_files) if same else {"", _common_ending(mask_files)}
    for image_ending, mask_ending in product(sorted(image_endings), sorted(mask_endings)):
        if same and not mask_ending:
            continue
        named = [path for path in mask_files if path.stem.endswith(mask_ending)]
        by_name = {path.stem.removesuffix(mask_ending): path for path in named}
        left = [
            path for path in image_files if not (same and path in named) and path.stem.endswith(image_ending)
        ]
        pairs = [
            (path, by_name[name])
            for path in left
            if (name := path.stem.removesuffix(image_ending)) in by_name
        ]
        if not pairs or any(image == mask for image, mask in pairs):
            continue
        paired = {image for image, _ in pairs}
        # files of two kinds in one folder are told apart by their extension, else by the ending
        image_text, mask_text = (folder.relative_to(root).as_posix() for folder in (images, masks))
        if same:
            kinds = Counter(path.suffix for path in left)
            image_text = (Path(image_text) / f"*{kinds.most_common(1)[0][0]}").as_posix()
        unpaired = [path for path in left if path not in paired]
        found.append(Findings(image_text, mask_text, image_ending, mask_ending, pairs, unpaired))
    return found


def _common_ending(files: list[Path]) -> str:
    """What all names end in, from a separator on: ``_mask``."""
    stems = [path.stem for path in files]
    length = 0
    while length < min(map(len, stems)) - 1 and len({stem[-length - 1] for stem in stems}) == 1:
        length += 1
    ending = stems[0][len(stems[0]) - length :]
    starts = [position for position, letter in enumerate(ending) if letter in _SEPARATORS]
    return ending[starts[0] :] if starts and len(files) > 1 else ""


def _endings(files: list[Path]) -> set[str]:
    """Endings that occur often in a folder of mixed files."""
    counts = Counter(
        path.stem[position:]
        for path in files
        for position, letter in enumerate(path.stem)
        if letter in _SEPARATORS and 0 < position < len(path.stem) - 1
    )
    return {ending for ending, count in counts.most_common(8) if count > 1 and not ending[1:].isdigit()}


def _fit(pairs: list[tuple[Path, Path]]) -> bool:
    """Whether the second of each pair holds few values, as masks do, and has the size of the first."""
    step = max(len(pairs) // _TRIED, 1)
    try:
        return all(
            image_size(image) == image_size(mask) and len(_values(mask)[0]) <= _MOST_VALUES
            for image, mask in pairs[::step][:_TRIED]
        )
    except DataError:
        return False


def _find_splits(root: Path, found: Findings, folders: dict[Path, list[Path]]) -> None:
    """Put ``{split}`` in place of a folder name where the same folders exist for another split."""
    parts = Path(found.images).parts
    for position, part in enumerate(parts):
        if part.lower() not in _TRAIN:
            continue
        for other in _VAL:
            texts = [text.replace(part, other) for text in (found.images, found.masks)]
            known = [(root / text).parent if "*" in text else root / text for text in texts]
            if part in Path(found.masks).parts and all(path in folders for path in known):
                swapped = [*parts[:position], "{split}", *parts[position + 1 :]]
                found.images = Path(*swapped).as_posix()
                masks = ["{split}" if piece == part else piece for piece in Path(found.masks).parts]
                found.masks = Path(*masks).as_posix()
                found.splits = (part, other)
                return


# ---- contents ------------------------------------------------------------------------------------


def _look_at_images(found: Findings) -> None:
    channels: Counter[int] = Counter()
    for image, _ in found.pairs[:_IMAGES_READ]:
        found.sizes.append(image_size(image))
        channels[_channels(image)] += 1
    found.channels = channels.most_common(1)[0][0]


def _channels(path: Path) -> int:
    if path.suffix.lower() == ".npy":
        shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
        return shape[2] if len(shape) == 3 else 1
    from PIL import Image

    with Image.open(path) as image:
        return 1 if image.mode in ("1", "L") or image.mode.startswith(("I", "F")) else 3


def _count_values(found: Findings) -> None:
    step = max(len(found.pairs) // _MASKS_READ, 1)
    masks = [mask for _, mask in found.pairs[::step]]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for result in pool.map(_try_values, masks):
            if isinstance(result, DataError):
                found.unreadable.append(str(result))
            else:
                found.counts.update(dict(zip(*result, strict=True)))


def _measure_things(found: Findings) -> None:
    """Median thickness of what is not of the most common value; colour masks are left out."""
    if found.colour_masks or not found.counts:
        return
    common = found.counts.most_common(1)[0][0]
    step = max(len(found.pairs) // _MASKS_MEASURED, 1)
    found_thickness = []
    for _, path in found.pairs[::step]:
        with suppress(DataError):  # was named when its values were counted
            mask = read_mask(path)
            things = np.pad((mask != common).astype(np.uint8), 1)  # a thing ends where the picture does
            radius = float(cv2.distanceTransform(things, cv2.DIST_L2, cv2.DIST_MASK_5).max())
            found_thickness.append(2 * radius / min(mask.shape))
    found.thickness = float(np.median(found_thickness)) if found_thickness else 0.0


def _try_values(path: Path) -> Any:
    try:
        return _values(path)
    except DataError as error:
        return error


def _values(path: Path) -> tuple[list[int] | list[tuple[int, int, int]], list[int]]:
    """Values of a mask, or colours where it is a colour picture, with the pixels of each."""
    try:
        values, counts = np.unique(read_mask(path), return_counts=True)
        return [int(value) for value in values], counts.tolist()
    except DataError as error:
        if "is a colour image" not in str(error):
            raise
    pixels = read_colour_mask(path).reshape(-1, 3)
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    return [(int(r), int(g), int(b)) for r, g, b in colours], counts.tolist()
