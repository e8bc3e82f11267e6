"""Lists of the files of a data set, and pairs of images and masks by name, never by position."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from utils.errors import DataError

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".npy")

Pair = tuple[str, Path, Path]  # key, image, mask
PairOrImage = tuple[str, Path, Path | None]


def require_folder(path: Path, hint: str = "") -> Path:
    """Return ``path`` if it is a folder.

    Raises:
        DataError: it is not; the message ends with ``hint``.
    """
    if not path.is_dir():
        problem = "is a file, not a folder" if path.exists() else "no such folder"
        raise DataError(f"{path}: {problem}" + (f"; {hint}" if hint else ""), kind="missing", paths=[path])
    return path


def require_files(paths: Iterable[Path], description: str) -> None:
    """Check that files exist, listing each folder once.

    Raises:
        DataError: some do not; the message counts them as ``description``, and names the first three.
    """
    listings: dict[Path, set[str]] = {}
    missing = []
    for path in paths:
        if path.parent not in listings:
            folder = path.parent
            listings[folder] = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
        if path.name not in listings[path.parent]:
            missing.append(path)
    if missing:
        raise DataError(
            f"{len(missing)} {description} are missing: {name_some(missing)}", kind="missing", paths=missing
        )


def require_masks(
    images: Mapping[str, Path], masks: Mapping[str, Path], options: str, prefix: str = ""
) -> None:
    """Refuse images for which there is no mask.

    Args:
        images: files by name.
        masks: files by name.
        options: what the message sends the user to.
        prefix: its beginning.

    Raises:
        DataError: naming some of the images.
    """
    missing = [path for name, path in images.items() if name not in masks]
    if missing:
        raise DataError(
            f"{prefix}{len(missing)} of {len(images)} images have no mask: {name_some(missing)}; "
            f"masks are matched by name, see {options}",
            kind="unpaired",
            paths=missing,
        )


def name_some(paths: Sequence[Path | str], most: int = 3) -> str:
    """Return the first ``most`` names, and ``...`` where there are more."""
    return ", ".join(map(str, paths[:most])) + (" ..." if len(paths) > most else "")


def list_images(folder: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> list[Path]:
    """Return the files of a folder with one of the suffixes, sorted by name, without hidden ones.

    Raises:
        DataError: there is no such folder.
    """
    require_folder(folder)
    require_access(folder)
    entries = list(folder.iterdir())
    warn_dangling(folder, entries)
    return sorted(
        path for path in entries
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
    )  # fmt: skip


def require_access(folder: Path) -> None:
    """Check that a folder may be listed.

    Raises:
        DataError: there is no permission.
    """
    if not os.access(folder, os.R_OK | os.X_OK):
        raise DataError(f"{folder}: no permission to read this folder", kind="unreadable", paths=[folder])


def warn_dangling(folder: Path, paths: Iterable[Path]) -> None:
    """Count and name the images among ``paths`` that are links to nothing."""
    links = [path for path in paths if path.is_symlink() and path.suffix.lower() in IMAGE_SUFFIXES]
    dangling = [path for path in links if not path.exists()]
    if dangling:
        text = "%s: %d links lead nowhere and are left out: %s"
        logger.warning(text, folder, len(dangling), name_some(dangling))


def pair_by_key(
    images: Iterable[Path], masks: Iterable[Path], mask_key: Callable[[Path], str] = lambda path: path.stem,
    image_key: Callable[[Path], str] = lambda path: path.stem,
) -> list[Pair]:  # fmt: skip
    """Pair images and masks that have the same key.

    Args:
        images: image files.
        masks: mask files; those without an image are ignored.
        mask_key: key of a mask; the file name without its suffix by default.
        image_key: key of an image.

    Returns:
        (key, image, mask), in the order of the images.

    Raises:
        DataError: an image without a mask, or two files with the same key; names the first three.
    """
    by_key = _by_key(masks, mask_key)
    pairs = [(key, image, by_key.get(key)) for key, image in _by_key(images, image_key).items()]
    missing = [image for _, image, mask in pairs if mask is None]
    if missing:
        raise DataError(
            f"{len(missing)} images have no mask: {name_some(missing)}", kind="unpaired", paths=missing
        )
    return [(key, image, mask) for key, image, mask in pairs if mask is not None]


def read_list(path: Path) -> list[str]:
    """Return the lines of a split file without blank ones, surrounding space and byte-order mark.

    Raises:
        DataError: there is no such file, or it is not text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no such file; it lists the images of the split", kind="missing", paths=[path]
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: cannot be read as text: {error}", kind="unreadable", paths=[path]
        ) from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def pairs_of_list(
    root: Path, listed: Path, images: Mapping[str, Path], masks: Mapping[str, Path] | None
) -> list[PairOrImage]:
    """Return the (name, image, mask) of each line of a list.

    Args:
        root: folder that paths in the list are relative to.
        listed: the list. A line is a name, a file name, or an image and a mask path.
        images: name -> image.
        masks: name -> mask; ``None`` for a data set without masks.

    Raises:
        DataError: a line names no file; the message says which.
    """
    return [
        _pair_of_line(root, line, images, masks, f"{listed}, entry {number}: '{line}'", listed)
        for number, line in enumerate(read_list(listed), start=1)
    ]


def listed_pairs(root: Path, listed: Path) -> list[PairOrImage] | None:
    """Return the (name, image, mask) of each line of a list; ``None`` where a line is no pair of files."""
    pairs = [_two_files(root, line) for line in read_list(listed)]
    return [pair for pair in pairs if pair is not None] if pairs and None not in pairs else None


def _two_files(root: Path, line: str) -> PairOrImage | None:
    """Return the sample of a line with the paths of an image and a mask; ``None`` for other lines."""
    words = line.split("\t") if "\t" in line else line.split()
    if len(words) != 2 or not all((root / word.lstrip("/")).is_file() for word in words):
        return None
    image, mask = (root / word.lstrip("/") for word in words)
    return Path(words[0]).with_suffix("").as_posix().lstrip("/"), image, mask


def _pair_of_line(
    root: Path,
    line: str,
    images: Mapping[str, Path],
    masks: Mapping[str, Path] | None,
    place: str,
    listed: Path,
) -> PairOrImage:
    name = line if line in images else Path(line).with_suffix("").as_posix()
    if name in images:
        if masks is not None and name not in masks:
            raise DataError(
                f"{place} has an image but no mask", kind="unpaired", paths=[listed, images[name]]
            )
        return name, images[name], None if masks is None else masks[name]
    pair = _two_files(root, line)
    if pair is not None:
        return pair
    raise DataError(f"{place} names no image that is there", kind="missing", paths=[listed])


def _by_key(paths: Iterable[Path], key: Callable[[Path], str]) -> Mapping[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        other = found.setdefault(key(path), path)
        if other is not path:
            raise DataError(
                f"{path} and {other} have the same name '{key(path)}'; keep one of them",
                kind="duplicate",
                paths=[path, other],
            )
    return found
