"""Candidates for the images and masks below a folder: pairs of equal names in folders that belong together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations, product
from pathlib import Path

_SEPARATORS = "_-. "
_ROLES = 8  # names of folders beside each other, from which more are cases or places, not images and masks
_FEW = 12  # folders, up to which every two of them are compared

Folders = Mapping[Path, list[Path]]  # folder relative to the root -> its image files


@dataclass
class FolderPairs:
    """Images and masks that belong together; patterns are relative to the root.

    Attributes:
        images: folder or pattern of the images, with ``{split}`` where each split has its own folder.
        masks: the same of the masks.
        image_suffix: end of the image names that the mask names lack.
        mask_suffix: end of the mask names that the image names lack.
        pairs: image and mask files.
        unpaired: images without a mask.
        keys: the part of the paths that an image and its mask share, for each pair.
        splits: names of training and of validation that replace ``{split}``; empty without it.
        listed: no patterns name these pairs; they are to be listed in a file.
        val_pairs: the same as ``pairs`` of validation, where the lists of the splits differ.
        left_out: image files below the root that belong to no pair and no split.
        odd: an error message for each file that was tried and does not fit.
    """

    images: str
    masks: str
    image_suffix: str
    mask_suffix: str
    pairs: list[tuple[Path, Path]]
    unpaired: list[Path]
    keys: list[str] = field(default_factory=list)
    splits: tuple[str, ...] = ()
    listed: bool = False
    val_pairs: list[tuple[Path, Path]] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The name of each pair, as the data set gives it."""
        return self.keys or [image.stem.removesuffix(self.image_suffix) for image, _ in self.pairs]


def candidates(folders: Folders) -> Iterator[FolderPairs]:
    """Yield ways to pair the files of folders, without a look into the files.

    Two folders belong together where their paths differ in one part: ``photos/a/b`` and ``labels/a/b``,
    ``case1/img`` and ``case1/mask``; then all folders that differ in the same two parts do. Images and masks
    may share their folders. A few folders are also compared each with each.
    """
    yield from _paired(list(folders.items()), None)
    for roles, couples in _couples(folders).items():
        if len(couples) > 1:
            yield from _paired(
                [(a, folders[a]) for a, _ in couples], [(b, folders[b]) for _, b in couples], roles
            )
    if len(folders) <= _FEW:
        for images, masks in product(folders, folders):
            same = None if images == masks else [(masks, folders[masks])]
            yield from _paired([(images, folders[images])], same)


def _couples(folders: Folders) -> dict[tuple[int, str, str], list[tuple[Path, Path]]]:
    """Return the folders that differ in one part, by its position and its two values."""
    siblings: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = defaultdict(list)
    for folder in folders:
        for position, part in enumerate(folder.parts):
            siblings[folder.parts[:position], folder.parts[position + 1 :]].append(part)
    found: dict[tuple[int, str, str], list[tuple[Path, Path]]] = defaultdict(list)
    for (before, after), parts in siblings.items():
        if len(parts) <= _ROLES:
            for first, second in permutations(parts, 2):
                couple = Path(*before, first, *after), Path(*before, second, *after)
                found[len(before), first, second].append(couple)
    return found


def _paired(
    images: Sequence[tuple[Path, list[Path]]],
    masks: Sequence[tuple[Path, list[Path]]] | None,
    roles: tuple[int, str, str] | None = None,
) -> Iterator[FolderPairs]:
    """Yield the pairs of couples of folders for each combination of endings of names.

    Args:
        images: folders with their files.
        masks: the folder of the masks of each; ``None`` where both kinds share the folders.
        roles: position and names of the part in which the couples differ.
    """
    others = images if masks is None else masks
    image_files, mask_files = _files(images), _files(others)
    image_endings = {"", _common_ending(image_files)}
    mask_endings = _frequent_endings(mask_files) if masks is None else {"", _common_ending(mask_files)}
    for image_ending, mask_ending in product(sorted(image_endings), sorted(mask_endings)):
        pairs, unpaired = _match_folders(images, image_ending, others, mask_ending)
        if pairs:
            texts = [
                _pattern([folder for folder, _ in part], roles and roles[0]) for part in (images, others)
            ]
            if masks is None:  # the extension, else the ending, separates the two kinds of files
                suffix = _common_suffix(sorted([*(image for image, _ in pairs), *unpaired]))
                texts[0] = (Path(texts[0].removesuffix("/*")) / f"*{suffix}").as_posix()
            yield FolderPairs(texts[0], texts[1], image_ending, mask_ending, pairs, unpaired)


def _files(folders: Sequence[tuple[Path, list[Path]]]) -> list[Path]:
    return [file for _, files in folders for file in files]


def _match_folders(
    images: Sequence[tuple[Path, list[Path]]],
    image_ending: str,
    masks: Sequence[tuple[Path, list[Path]]],
    mask_ending: str,
) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """Return the pairs of each couple of folders, and the images without a mask."""
    pairs: list[tuple[Path, Path]] = []
    unpaired: list[Path] = []
    for (_, own), (_, theirs) in zip(images, masks, strict=True):
        matched, alone = _match_names(own, image_ending, theirs, mask_ending)
        pairs += matched
        unpaired += alone
    return pairs, unpaired


def _pattern(folders: Sequence[Path], role: int | None) -> str:
    """Return the folder, or one pattern for the files of several folders.

    Args:
        folders: relative to the root.
        role: position of the part that is the same in all and says what the files are.
    """
    if len(folders) == 1:
        return folders[0].as_posix()
    if role is None:
        shared = 0
        while len({folder.parts[: shared + 1] for folder in folders}) == 1 and shared < len(folders[0].parts):
            shared += 1
        return Path(*folders[0].parts[:shared], "**", "*").as_posix()
    columns = [{folder.parts[position] for folder in folders} for position in range(role + 1)]
    before = [next(iter(column)) if len(column) == 1 else "*" for column in columns]
    deeper = any(len(folder.parts) > role + 1 for folder in folders)
    return Path(*before, *(["**"] if deeper else []), "*").as_posix()


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
