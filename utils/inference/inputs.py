"""Input images of a command line: a folder, a file, a pattern, or a list of files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from utils.data.pairing import require_access, warn_dangling
from utils.errors import DataError
from utils.system.patterns import WILDCARDS, expand, fixed_part, walk_folders

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "bmp", "tif", "tiff", "gif", "webp", "ppm", "pgm", "npy")
VIDEO_EXTENSIONS = ("mp4", "avi", "mov", "mkv", "m4v", "webm")
LIST_EXTENSIONS = ("txt", "lst")


class ImageFile(NamedTuple):
    """One input image.

    Attributes:
        path: the file.
        relative: its path below the folder that was given; its outputs are named after it.
    """

    path: Path
    relative: PurePath


def find_images(given: str, extensions: Sequence[str] = (), exclude: Path | None = None) -> list[ImageFile]:
    """List the images that ``given`` names, sorted by name; those of a list file in the order of the list.

    Args:
        given: a folder (searched with its subfolders), an image, a list file (``.txt``, one path per
            line, relative to the list), or a pattern with ``*``, ``?``, ``[...]``, ``**``.
        extensions: only files with these extensions, in upper or lower case; all of
            :data:`IMAGE_EXTENSIONS` if empty. They do not apply to an image given by name or in a list.
        exclude: output folder, whose files are not inputs.

    Raises:
        DataError: there is no such file or folder, or it holds no image.
    """
    path = Path(given)
    if path.is_file():
        is_list = path.suffix.lower().lstrip(".") in LIST_EXTENSIONS
        return _read_list(path) if is_list else [ImageFile(path, PurePath(path.name))]
    wanted = tuple(f".{extension.lower().lstrip('.')}" for extension in extensions or IMAGE_EXTENSIONS)
    folder, found = _search(path, given)
    warn_dangling(folder, found)
    files = [file for file in found if _is_image(file, wanted)]
    inputs = _without_outputs(files, folder, exclude)
    if not inputs:
        raise DataError(
            f"--images {given}: no image found ({', '.join(wanted)})", kind="missing", paths=[path]
        )
    images = [ImageFile(file, file.relative_to(folder)) for file in inputs]
    return sorted(images, key=lambda image: image.relative.parts)


def _search(path: Path, given: str) -> tuple[Path, list[Path]]:
    """Return the folder of a folder or pattern, and everything found in it.

    Raises:
        DataError: neither a folder nor a pattern.
    """
    if path.is_dir():
        require_access(path)
        return path, [file for below in walk_folders(path) for file in below.iterdir()]
    if WILDCARDS & set(given):
        return fixed_part(path.parent), list(dict.fromkeys(expand(path)))
    raise DataError(f"--images {given}: no such file or folder", kind="missing", paths=[path])


def _is_image(file: Path, wanted: tuple[str, ...]) -> bool:
    """Return whether a path is a regular file of a wanted extension, and not a Mac's ``._`` companion of one."""
    return file.suffix.lower() in wanted and not file.name.startswith("._") and file.is_file()


def _without_outputs(files: list[Path], folder: Path, exclude: Path | None) -> list[Path]:
    """Leave out the files of the output folder, unless it is the input folder itself."""
    if exclude is None or exclude.resolve() == folder.resolve():
        return files
    outputs = exclude.resolve()
    return [file for file in files if not file.resolve().is_relative_to(outputs)]


def _read_list(path: Path) -> list[ImageFile]:
    """Return the images of a list file, in its order.

    Raises:
        DataError: the list cannot be read or is empty.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path}: cannot be read as a list of files: {error}"
        raise DataError(message, kind="unreadable", paths=[path]) from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise DataError(f"{path}: the list is empty", kind="unsuitable", paths=[path])
    return [ImageFile(path.parent / name, _inside(PurePath(name))) for name in names]


def _inside(name: PurePath) -> PurePath:
    """Return a listed path without the parts that would lead out of the output folder."""
    return PurePath(*[part for part in name.parts if part not in ("..", name.anchor)])
