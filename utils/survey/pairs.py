"""Finds the images and masks below a folder, and how their names belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from utils.data.pairing import IMAGE_SUFFIXES, name_some, require_folder
from utils.errors import DataError
from utils.images.header import image_size
from utils.images.masks import count_mask_values

_DEPTH = 4  # levels of folders below the root that are searched
_TRIED = 5  # files of a folder that are opened to see whether it holds masks
_MOST_VALUES = 64  # a file with more distinct values than this is a photo, not a mask
_TRAIN, _VAL = ("train", "training"), ("val", "validation", "valid", "test")
_SEPARATORS = "_-. "


@dataclass
class FolderPairs:
    """Images and masks that belong together; paths are relative to the root.

    Attributes:
        images: folder or pattern of the images, with ``{split}`` where each split has its own folder.
        masks: the same of the masks.
        image_suffix: end of the image names that the mask names lack.
        mask_suffix: end of the mask names that the image names lack.
        pairs: image and mask files.
        unpaired: images without a mask.
        splits: names of training and of validation that replace ``{split}``; empty without it.
    """

    images: str
    masks: str
    image_suffix: str
    mask_suffix: str
    pairs: list[tuple[Path, Path]]
    unpaired: list[Path]
    splits: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The part of the names that an image and its mask share, for each pair."""
        return [image.stem.removesuffix(self.image_suffix) for image, _ in self.pairs]


def find_pairs(root: Path) -> FolderPairs:
    """Find images and masks below a folder.

    Raises:
        DataError: no images, or none that can be matched with masks by name.
    """
    require_folder(root)
    folders = _image_folders(root)
    if not folders:
        raise DataError(f"{root}: no image files in it or in the folders below", kind="missing", paths=[root])
    found = _best_match(root, folders)
    if found is None:
        names = name_some([str(folder.relative_to(root)) for folder in folders])
        raise DataError(
            f"{root}: found images in {names}, but no two sets of files whose names match as images and "
            "masks; name a mask as its image, with a common ending if you like: 7.jpg and 7_mask.png",
            kind="unpaired",
            paths=[root],
        )
    _find_splits(root, found, folders)
    return found


def _image_folders(root: Path) -> dict[Path, list[Path]]:
    """Return the folders that hold image files, with these files."""
    found: dict[Path, list[Path]] = {}
    remaining = [(root, 0)]
    while remaining:
        folder, depth = remaining.pop()
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
        files = [entry for entry in entries if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()]
        if files:
            found[folder] = files
        if depth < _DEPTH:
            remaining += [(entry, depth + 1) for entry in entries if entry.is_dir()]
    return dict(sorted(found.items()))


def _best_match(root: Path, folders: dict[Path, list[Path]]) -> FolderPairs | None:
    """Return the two folders, or the two kinds of files in one, with the most matching names."""
    best: tuple[tuple[int, int, int], FolderPairs] | None = None
    for images, masks in product(folders, folders):
        for candidate in _matches(root, images, folders[images], masks, folders[masks]):
            if not _look_like_masks(candidate.pairs):
                continue
            parts = images.relative_to(root).parts
            training = any(part.lower() in _TRAIN for part in parts)
            # splits often use the same file names: masks of the same split share a folder with the images
            shared = len(set(parts) & set(masks.relative_to(root).parts))
            score = (len(candidate.pairs) - len(candidate.unpaired), int(training), shared)
            if best is None or score > best[0]:
                best = (score, candidate)
    return None if best is None else best[1]


def _matches(
    root: Path, images: Path, image_files: list[Path], masks: Path, mask_files: list[Path]
) -> Iterator[FolderPairs]:
    """Yield the pairs of two folders, which may be the same, for each combination of endings of names."""
    same = images == masks
    image_text, mask_text = (folder.relative_to(root).as_posix() for folder in (images, masks))
    image_endings = {"", _common_ending(image_files)}
    mask_endings = _frequent_endings(mask_files) if same else {"", _common_ending(mask_files)}
    for image_ending, mask_ending in product(sorted(image_endings), sorted(mask_endings)):
        pairs, unpaired = _match_names(image_files, image_ending, mask_files, mask_ending)
        if not pairs:
            continue
        text = image_text
        if same:  # the extension, else the ending, separates the two kinds of files
            suffix = _common_suffix(sorted([*(image for image, _ in pairs), *unpaired]))
            text = (Path(image_text) / f"*{suffix}").as_posix()
        yield FolderPairs(text, mask_text, image_ending, mask_ending, pairs, unpaired)


def _match_names(
    images: list[Path], image_ending: str, masks: list[Path], mask_ending: str
) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """Return the pairs of equal names without the endings, and the images without a mask."""
    with_ending = [path for path in masks if path.stem.endswith(mask_ending)]
    by_name = {path.stem.removesuffix(mask_ending): path for path in with_ending}
    taken = set(with_ending)  # both lists may be of one folder
    found = {
        path: by_name.get(path.stem.removesuffix(image_ending))
        for path in images
        if path.stem.endswith(image_ending) and path not in taken
    }
    pairs = [(image, mask) for image, mask in found.items() if mask is not None]
    return pairs, [image for image, mask in found.items() if mask is None]


def _common_suffix(files: list[Path]) -> str:
    return Counter(path.suffix for path in files).most_common(1)[0][0]


def _common_ending(files: list[Path]) -> str:
    """Return the ending that all names share, from a separator on, such as ``_mask``."""
    stems = [path.stem for path in files]
    length = 0
    while length < min(map(len, stems)) - 1 and len({stem[-length - 1] for stem in stems}) == 1:
        length += 1
    ending = stems[0][len(stems[0]) - length :]
    starts = [position for position, letter in enumerate(ending) if letter in _SEPARATORS]
    return ending[starts[0] :] if starts and len(files) > 1 else ""


def _frequent_endings(files: list[Path]) -> set[str]:
    """Return the endings that occur often in a folder of mixed files."""
    counts = Counter(
        path.stem[position:]
        for path in files
        for position, letter in enumerate(path.stem)
        if letter in _SEPARATORS and 0 < position < len(path.stem) - 1
    )
    return {ending for ending, count in counts.most_common(8) if count > 1 and not ending[1:].isdigit()}


def _look_like_masks(pairs: list[tuple[Path, Path]]) -> bool:
    """Return whether the second file of each pair has few values, and the size of the first."""
    step = max(len(pairs) // _TRIED, 1)
    try:
        return all(
            image_size(image) == image_size(mask) and len(count_mask_values(mask)) <= _MOST_VALUES
            for image, mask in pairs[::step][:_TRIED]
        )
    except DataError:
        return False


def _find_splits(root: Path, found: FolderPairs, folders: dict[Path, list[Path]]) -> None:
    """Replace a folder name by ``{split}`` where the same folders exist for another split."""
    image_parts, mask_parts = Path(found.images).parts, Path(found.masks).parts
    for position, part in enumerate(image_parts):
        if part.lower() not in _TRAIN or part not in mask_parts:
            continue
        for other in _VAL:
            texts = [text.replace(part, other) for text in (found.images, found.masks)]
            known = [(root / text).parent if "*" in text else root / text for text in texts]
            if all(path in folders for path in known):
                found.images = Path(
                    *image_parts[:position], "{split}", *image_parts[position + 1 :]
                ).as_posix()
                found.masks = Path(*("{split}" if p == part else p for p in mask_parts)).as_posix()
                found.splits = (part, other)
                return
