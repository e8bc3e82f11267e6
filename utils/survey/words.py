"""Pairs of files whose names differ in the words for image and mask, or in leading zeros of their numbers.

``images/img_001.jpg`` with ``masks/mask_001.png``, ``case_1/image.png`` with ``case_1/mask.png``, ``images/1.jpg``
with ``masks/001.png``. No pattern of the ``Folder`` data set describes these, so their pairs are listed in a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_IMAGES = frozenset(("image", "img", "photo", "picture", "pic", "scan", "frame", "input", "rgb"))
_MASKS = frozenset(
    (
        "mask",
        "label",
        "gt",
        "truth",
        "groundtruth",
        "annotation",
        "annot",
        "seg",
        "segmentation",
        "target",
        "manual",
    )
)
_WORDS = re.compile(r"[^\W\d_]+|\d+")

Key = tuple[tuple[str, ...], ...]
Pairs = list[tuple[Path, Path]]


def pairs_by_words(files: Iterable[Path]) -> tuple[Pairs, list[Path]] | None:
    """Pair files that agree in all but the words for image and mask, each word at the same place of the path.

    Args:
        files: image files, relative to the folder that is searched.

    Returns:
        Image and mask of each pair, and the images without a mask; ``None`` where there is any doubt: two images
        or two masks agree, a mask has no image, or an image has no mask although zeros were ignored.
    """
    images, masks = [], []
    for file in files:
        words = {_singular(word) for part in file.with_suffix("").parts for word in _words_of(part)}
        if words & _MASKS:
            masks.append(file)
        elif words & _IMAGES:
            images.append(file)
    return _match(images, masks, zeros=True) or _match(images, masks, zeros=False)


def _match(images: list[Path], masks: list[Path], *, zeros: bool) -> tuple[Pairs, list[Path]] | None:
    by_key, mask_by_key = _by_key(images, zeros), _by_key(masks, zeros)
    if not by_key or not mask_by_key or not mask_by_key.keys() <= by_key.keys():
        return None
    alone = by_key.keys() - mask_by_key.keys()
    if alone and not zeros:  # the numbers may be counted from elsewhere
        return None
    pairs = [(image, mask_by_key[key]) for key, image in by_key.items() if key not in alone]
    return pairs, [by_key[key] for key in by_key if key in alone]


def _by_key(files: list[Path], zeros: bool) -> dict[Key, Path]:
    """Return the files by their keys; empty where two have the same."""
    found = {_key(file, zeros): file for file in files}
    return found if len(found) == len(files) else {}


def _key(file: Path, zeros: bool) -> Key:
    """Return the words of each part of a path, without those for image and mask; numbers with or without zeros."""
    roles = _IMAGES | _MASKS
    return tuple(
        tuple(
            word if zeros or not word.isdigit() else str(int(word))
            for word in _words_of(part)
            if _singular(word) not in roles
        )
        for part in file.with_suffix("").parts
    )


def _words_of(part: str) -> list[str]:
    """Return the words and the numbers of one part of a path."""
    return _WORDS.findall(re.sub("ground[-_ ]truth", "groundtruth", part.lower()))


def _singular(word: str) -> str:
    return word.removesuffix("s")
