"""Finds the images that a command line names: a folder, a file, a pattern, or a list of files."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from utils.errors import DataError
from utils.system.patterns import WILDCARDS, fixed_part

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "bmp", "tif", "tiff", "gif", "webp", "ppm", "pgm", "npy")
VIDEO_EXTENSIONS = ("mp4", "avi", "mov", "mkv")
LIST_EXTENSIONS = ("txt", "lst")


class ImageFile(NamedTuple):
    """One input.

    Attributes:
        path: the file.
        relative: its place under the folder that was asked for: what its outputs are named after.
    """

    path: Path
    relative: PurePath


def find_images(given: str, extensions: Sequence[str] = (), exclude: Path | None = None) -> list[ImageFile]:
    """List the images that ``given`` names, sorted by name.

    Args:
        given: a folder (searched with its subfolders), an image, a list file (``.txt``, one path per
            line, relative to the list), or a pattern with ``*``, ``?``, ``[...]``, ``**``.
        extensions: only files with these endings, in any case; all that can be read if empty.
            A file that is named outright is taken whatever its ending.
        exclude: a folder whose files are not inputs: the one that results are written to.

    Raises:
        DataError: there is nothing of this name, or no image in it.
    """
    path = Path(given)
    wanted = tuple(f".{ending.lower().lstrip('.')}" for ending in extensions or IMAGE_EXTENSIONS)
    if path.is_dir():
        found = _under(path, path.rglob("*"))
    elif path.is_file():
        if path.suffix.lower().lstrip(".") not in LIST_EXTENSIONS:
            return [ImageFile(path, PurePath(path.name))]
        return _from_list(path)
    elif WILDCARDS & set(given):
        matches = glob.glob(given, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
        found = _under(fixed_part(path.parent), map(Path, matches))
    else:
        raise DataError(f"--images {given}: no such file or folder")
    hidden = exclude.resolve() if exclude is not None else None
    if hidden == (path if path.is_dir() else fixed_part(path.parent)).resolve():
        hidden = None  # results go beside the images
    kept = [
        image
        for image in found
        if image.path.suffix.lower() in wanted
        and image.path.is_file()
        and not (hidden is not None and image.path.resolve().is_relative_to(hidden))
    ]
    if not kept:
        raise DataError(f"--images {given}: no image there ({', '.join(wanted)})")
    return sorted(kept, key=lambda image: image.relative.parts)


def _under(folder: Path, paths: Iterable[Path]) -> list[ImageFile]:
    return [ImageFile(path, path.relative_to(folder)) for path in paths]


def _from_list(path: Path) -> list[ImageFile]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a list of files: {error}") from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise DataError(f"{path}: the list is empty")
    return [ImageFile(path.parent / name, _inside(PurePath(name))) for name in names]


def _inside(name: PurePath) -> PurePath:
    """A listed path without what would lead out of the output folder."""
    return PurePath(*[part for part in name.parts if part not in ("..", name.anchor)])
