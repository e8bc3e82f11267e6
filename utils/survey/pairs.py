"""Finds the images and masks below a folder, and how their names belong together."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from utils.data.folder_files import spelt_out, without_spelt_out
from utils.data.pairing import IMAGE_SUFFIXES, name_some, require_access, require_folder, warn_dangling
from utils.errors import DataError
from utils.images.header import image_size
from utils.images.masks import count_mask_values
from utils.survey.candidates import FolderPairs, Folders, candidates
from utils.survey.lists import EXAMPLE
from utils.survey.words import pairs_by_words
from utils.system.patterns import fixed_part, walk_folders

__all__ = ["MOST_VALUES", "FolderPairs", "find_pairs"]

_TRIED = 7  # pairs of a candidate that are opened; most of them decide
_OF_IMAGES = re.compile("image|img|photo|pict|input|scan|frame|rgb")
_OF_MASKS = re.compile("mask|label|truth|gt|annot|segm|target|manual")
MOST_VALUES = 64  # a file with more distinct values than this is a photo, not a mask
_TRAIN, _VAL = ("train", "training"), ("val", "validation", "valid", "test")


def find_pairs(root: Path) -> FolderPairs:
    """Find images and masks below a folder; paths of the result begin with ``root``.

    Raises:
        DataError: no images, or none that can be matched with masks; the message says what was tried.
    """
    require_access(require_folder(root))
    folders = _image_folders(root)
    if not folders:
        raise DataError(f"{root}: no image files in it or in the folders below", kind="missing", paths=[root])
    searched = {folder: files for folder, files in folders.items() if not _has_training_twin(folder, folders)}
    best = _best(root, searched)
    found = _by_words(root, folders, searched, best) if isinstance(best, DataError) or best.unpaired else None
    if found is None:
        if isinstance(best, DataError):
            raise best
        found = best
        found.keys = [_name(image, found) for image, _ in found.pairs]
        _find_splits(found, folders)
    else:
        found.keys = listed_names(found.pairs)
    _place(root, found, searched if found.splits else folders)
    return found


def listed_names(pairs: Iterable[tuple[Path, Path]]) -> list[str]:
    """Return the names that the data set gives to listed pairs, whose paths are relative to the root."""
    return [image.with_suffix("").as_posix() for image, _ in pairs]


def _by_words(
    root: Path, folders: Folders, searched: Folders, best: FolderPairs | DataError
) -> FolderPairs | None:
    """Return the pairs of files whose names differ in the words for image and mask.

    Returns:
        The pairs, to be listed; ``None`` where there are none, or no more than ``best`` has.

    Raises:
        DataError: names match and nothing else does, but files do not fit.
    """
    matched = pairs_by_words(file for files in searched.values() for file in files)
    if matched is None or (isinstance(best, FolderPairs) and len(matched[0]) <= len(best.pairs)):
        return None
    pairs, unpaired = matched
    problems = _problems(root, pairs) + _unequal_sizes(root, pairs)
    if problems:
        if isinstance(best, FolderPairs):
            return None
        text = (
            f"{len(pairs)} names match apart from words such as image and mask, but {problems[0]}; {EXAMPLE}"
        )
        raise DataError(f"{root}: {text}", kind="unpaired", paths=[root])
    found = FolderPairs(pairs[0][0].as_posix(), pairs[0][1].as_posix(), "", "", pairs, unpaired, listed=True)
    found.val_pairs = _validation_by_words(root, folders, searched)
    return found


def _validation_by_words(root: Path, folders: Folders, searched: Folders) -> list[tuple[Path, Path]]:
    """Return the pairs of the first split for validation whose names match in the same way; empty without one."""
    for word in _VAL:
        others = [
            folder for folder in folders if word in map(str.lower, folder.parts) and folder not in searched
        ]
        matched = pairs_by_words(file for folder in others for file in folders[folder])
        if matched is not None and not _unequal_sizes(root, matched[0]):
            return matched[0]
    return []


def _unequal_sizes(root: Path, pairs: Iterable[tuple[Path, Path]]) -> list[str]:
    """Return a message for each image whose mask has another size; unreadable files are reported elsewhere."""
    found = []
    for image, mask in pairs:
        with suppress(DataError):
            (height, width), (rows, columns) = image_size(root / image), image_size(root / mask)
            if (height, width) != (rows, columns):
                found.append(f"{root / image} is {width}x{height} pixels, {root / mask} {columns}x{rows}")
    return found


def _place(root: Path, found: FolderPairs, folders: Folders) -> None:
    """Note the files that are left out, and put ``root`` before every path."""
    used = {path for pair in found.pairs + found.val_pairs for path in pair} | set(found.unpaired)
    found.left_out = [root / file for files in folders.values() for file in files if file not in used]
    found.pairs = [(root / image, root / mask) for image, mask in found.pairs]
    found.val_pairs = [(root / image, root / mask) for image, mask in found.val_pairs]
    found.unpaired = [root / path for path in found.unpaired]


def _image_folders(root: Path) -> dict[Path, list[Path]]:
    """Return the folders that hold image files, with these files; all relative to the root."""
    found: dict[Path, list[Path]] = {}
    for folder in walk_folders(root, hidden=False):
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
        warn_dangling(folder, entries)
        files = [entry for entry in entries if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()]
        if files:
            found[folder.relative_to(root)] = [file.relative_to(root) for file in files]
    return dict(sorted(found.items()))


def _has_training_twin(folder: Path, folders: Folders) -> bool:
    """Return whether a folder of validation data has a twin of training data, which is searched in its place."""
    return any(
        Path(*folder.parts[:position], train, *folder.parts[position + 1 :]) in folders
        for position, part in enumerate(folder.parts)
        if part.lower() in _VAL
        for train in (*_TRAIN, *(word.capitalize() for word in _TRAIN))
    )


def _best(root: Path, folders: Folders) -> FolderPairs | DataError:
    """Return the candidate with the most pairs among those whose files fit, or an error: why none does."""
    ranked = sorted(candidates(folders), key=_score, reverse=True)
    refused: tuple[FolderPairs, list[str]] | None = None
    for candidate in ranked:
        problems = _problems(root, candidate.pairs)
        if 2 * len(problems) < min(len(candidate.pairs), _TRIED):
            candidate.odd = problems
            return candidate
        refused = refused or (candidate, problems)
    return _refusal(root, folders, refused)


def _score(candidate: FolderPairs) -> tuple[int, int, int, int]:
    images, masks = Path(candidate.images).parts, Path(candidate.masks).parts
    training = any(part.lower() in _TRAIN for part in images)
    # splits often use the same file names: masks of the same split share a folder with the images
    shared = len(set(images) & set(masks))
    # a plain folder before a pattern for the same files
    return len(candidate.pairs) - len(candidate.unpaired), int(training), shared, -candidate.images.count("*")


def _problems(root: Path, pairs: list[tuple[Path, Path]]) -> list[str]:
    """Return why some of the pairs that are tried are no image with its mask."""
    step = max(len(pairs) // _TRIED, 1)
    found = (
        _problem(root / image, root / mask, named=_roles_are_named(image, mask))
        for image, mask in pairs[::step][:_TRIED]
    )
    return [problem for problem in found if problem]


def _roles_are_named(image: Path, mask: Path) -> bool:
    """Return whether the paths say which file is the image: ``images/1.png`` and ``masks/1.png``."""
    words = image.as_posix().lower(), mask.as_posix().lower()
    return bool(_OF_IMAGES.search(words[0]) and _OF_MASKS.search(words[1]) and not _OF_MASKS.search(words[0]))


def _problem(image: Path, mask: Path, *, named: bool) -> str:
    """Return why two files are no image and its mask; empty where they are.

    Binarised documents and drawings have few values too; they are images where their names say so.
    """
    try:
        values = len(count_mask_values(mask))
        if values > MOST_VALUES:
            return f"{mask} holds {values} values, more than the {MOST_VALUES} of a mask"
        (height, width), (rows, columns) = image_size(image), image_size(mask)
    except DataError as error:
        return str(error)
    if (height, width) != (rows, columns):
        return f"{image} is {width}x{height} pixels, {mask} {columns}x{rows}"
    if not named and 1 < _count_values(image) <= MOST_VALUES:
        return f"{image} and {mask} both hold as few values as masks"
    return ""


def _count_values(image: Path) -> int:
    """Return the number of values or colours of an image; 0 where it cannot be a mask."""
    try:
        return len(count_mask_values(image))
    except DataError:
        return 0


def _refusal(root: Path, folders: Folders, refused: tuple[FolderPairs, list[str]] | None) -> DataError:
    if refused is None:
        names = name_some([str(folder) for folder in folders])
        text = (
            f"found images in {names}, but no two sets of files whose names match as images and "
            "masks; name a mask as its image, with a common ending if you like: 7.jpg and 7_mask.png; "
            f"or {EXAMPLE} of the Folder data set"
        )
    else:
        candidate, problems = refused
        text = (
            f"{len(candidate.pairs)} pairs of names match, images in {candidate.images} and masks in "
            f"{candidate.masks}, but {problems[0]}; where other files belong together, {EXAMPLE}"
        )
    return DataError(f"{root}: {text}", kind="unpaired", paths=[root])


def _name(image: Path, found: FolderPairs) -> str:
    """Return the name that the data set gives an image: its path below the folder, without the suffixes."""
    folder = fixed_part(Path(found.images))
    named = image.relative_to(folder)
    if spelt_out(found.images) != spelt_out(found.masks):
        named = without_spelt_out(named, str(Path(found.images).relative_to(folder)))
    return named.with_name(image.stem.removesuffix(found.image_suffix)).as_posix()


def _find_splits(found: FolderPairs, folders: Folders) -> None:
    """Replace a folder name by ``{split}`` where the same folders exist for another split."""
    image_parts, mask_parts = Path(found.images).parts, Path(found.masks).parts
    for position, part in enumerate(image_parts):
        if part.lower() not in _TRAIN or part not in mask_parts:
            continue
        for other in _VAL:
            texts = [Path(*(other if p == part else p for p in parts)) for parts in (image_parts, mask_parts)]
            if all(_has_files(fixed_part(text), folders) for text in texts):
                found.images = Path(
                    *image_parts[:position], "{split}", *image_parts[position + 1 :]
                ).as_posix()
                found.masks = Path(*("{split}" if p == part else p for p in mask_parts)).as_posix()
                found.splits = (part, other)
                return


def _has_files(folder: Path, folders: Iterable[Path]) -> bool:
    return any(other.parts[: len(folder.parts)] == folder.parts for other in folders)
