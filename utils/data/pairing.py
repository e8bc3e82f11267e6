"""Lists of the files of a data set, and pairs of images and masks by name, never by position."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from utils.errors import DataError
from utils.system.patterns import WILDCARDS, fixed_part

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


def name_some(paths: Sequence[Path | str]) -> str:
    """Return the first three names, and ``...`` where there are more."""
    return ", ".join(map(str, paths[:3])) + (" ..." if len(paths) > 3 else "")


def list_images(folder: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> list[Path]:
    """Return the files of a folder with one of the suffixes, sorted by name, without hidden ones.

    Raises:
        DataError: there is no such folder.
    """
    require_folder(folder)
    _require_access(folder)
    entries = list(folder.iterdir())
    _warn_dangling(folder, entries)
    return sorted(
        path for path in entries
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
    )  # fmt: skip


def _require_access(folder: Path) -> None:
    if not os.access(folder, os.R_OK | os.X_OK):
        raise DataError(f"{folder}: no permission to read this folder", kind="unreadable", paths=[folder])


def _warn_dangling(folder: Path, paths: Iterable[Path]) -> None:
    """Count and name the images among ``paths`` that are links to nothing."""
    links = [path for path in paths if path.is_symlink() and path.suffix.lower() in IMAGE_SUFFIXES]
    dangling = [path for path in links if not path.exists()]
    if dangling:
        text = "%s: %d links lead nowhere and are left out: %s"
        logger.warning(text, folder, len(dangling), name_some(dangling))


def find_files(root: Path, text: str, suffix: str = "", *, varying: bool = False) -> dict[str, Path]:
    """Find image files, and name each by its path below the folder, without extension and suffix.

    Args:
        root: folder that ``text`` is relative to.
        text: a folder, whose own files are taken, or a pattern with ``*``, ``?``, ``[...]`` or ``**``.
        suffix: end of the file names before the extension; files without it are left out. With an
            extension, ``_mask.gif``, only files of that extension are taken.
        varying: leave out of the names the folders that the pattern spells out: ``case1/img/7`` of ``*/img/*``
            becomes ``case1/7``.

    Returns:
        Name (with ``/`` between folders) -> file, sorted by name.

    Raises:
        DataError: no such folder, nothing found, or two files with the same name.
    """
    folder, pattern = _folder_and_pattern(root, text)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder", kind="missing", paths=[folder])
    extension = Path(suffix).suffix if Path(suffix).suffix.lower() in IMAGE_SUFFIXES else ""
    ending = suffix.removesuffix(extension)
    _require_access(folder)
    found: dict[str, Path] = {}
    paths = sorted(folder.glob(pattern))
    _warn_dangling(folder, paths)
    for path in paths:
        relative = path.relative_to(folder)
        if not _is_wanted(path, relative, extension, ending):
            continue
        named = without_spelt_out(relative, pattern) if varying else relative
        name = named.with_name(path.stem.removesuffix(ending) if ending else path.stem).as_posix()
        other = found.setdefault(name, path)
        if other is not path:
            raise DataError(
                f"{path} and {other} have the same name; keep one, or name one kind: '*{path.suffix}'",
                kind="duplicate",
                paths=[path, other],
            )
    if not found:
        raise DataError(
            f"{folder}: no image files" + (f" that end in '{suffix}'" if suffix else ""),
            kind="missing",
            paths=[folder],
        )
    return found


def spelt_out(text: str) -> list[str]:
    """Return the folders that a pattern names without wildcards after the first with one."""
    pattern = Path(text)
    rest = pattern.relative_to(fixed_part(pattern)).parts[:-1]
    return [part for part in rest if not WILDCARDS & set(part)]


def without_spelt_out(relative: Path, pattern: str) -> Path:
    """Leave out the folders of a path that a pattern names, counted from either side of its ``**``."""
    folders, wanted = list(relative.parts[:-1]), list(Path(pattern).parts[:-1])
    middle = wanted.index("**") if "**" in wanted else len(wanted)
    before, after = wanted[:middle], wanted[middle + 1 :]
    dropped = {i for i, part in enumerate(before) if not WILDCARDS & set(part)}
    start = len(folders) - len(after)
    dropped |= {start + i for i, part in enumerate(after) if not WILDCARDS & set(part)}
    return Path(*(part for i, part in enumerate(folders) if i not in dropped), relative.name)


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


def _pair_of_line(
    root: Path,
    line: str,
    images: Mapping[str, Path],
    masks: Mapping[str, Path] | None,
    place: str,
    listed: Path,
) -> PairOrImage:
    name = line if line in images else Path(line).with_suffix("").as_posix()
    words = line.split("\t") if "\t" in line else line.split()
    if name in images:
        if masks is not None and name not in masks:
            raise DataError(
                f"{place} has an image but no mask", kind="unpaired", paths=[listed, images[name]]
            )
        return name, images[name], None if masks is None else masks[name]
    if len(words) == 2 and all((root / word.lstrip("/")).is_file() for word in words):
        image, mask = (root / word.lstrip("/") for word in words)
        return Path(words[0]).with_suffix("").as_posix().lstrip("/"), image, mask
    raise DataError(f"{place} names no image that is there", kind="missing", paths=[listed])


def _folder_and_pattern(root: Path, text: str) -> tuple[Path, str]:
    """Return the folder before the first wildcard of ``text``, and the rest as a pattern."""
    pattern = Path(text)
    fixed = fixed_part(pattern)
    folder = root / fixed
    if fixed != pattern:
        return folder, str(pattern.relative_to(fixed))
    if folder.is_file():
        raise DataError(
            f"{folder}: is a file; name its folder, and the list of a split in list_file",
            kind="missing",
            paths=[folder],
        )
    return folder, "*"


def _is_wanted(path: Path, relative: Path, extension: str, ending: str) -> bool:
    """Return whether a file is a visible image with the extension (any if empty) and the ending."""
    suffixes = (extension.lower(),) if extension else IMAGE_SUFFIXES
    return (
        path.suffix.lower() in suffixes
        and not any(part.startswith(".") for part in relative.parts)
        and path.stem.endswith(ending)
        and path.is_file()
    )


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
