"""Finds the files of a folder or of a pattern, by the name that pairs them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from utils.errors import DataError
from utils.pairing import IMAGE_SUFFIXES, read_list

_WILDCARDS = frozenset("*?[")


def find_files(root: Path, text: str, suffix: str = "") -> dict[str, Path]:
    """Image files by their path below the folder, without extension and suffix.

    Args:
        root: what ``text`` is relative to.
        text: a folder, whose own files are taken, or a pattern with ``*``, ``?``, ``[...]`` or ``**``.
        suffix: end of the names before the extension; files without it are left out.

    Returns:
        Name (with ``/`` between folders) -> file, sorted by name.

    Raises:
        DataError: no such folder, nothing found, or two files with the same name.
    """
    folder, pattern = _fixed_part(root, text)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    extension = Path(suffix).suffix if Path(suffix).suffix.lower() in IMAGE_SUFFIXES else ""
    ending = suffix.removesuffix(extension)  # "_mask.gif" is "_mask" of a GIF
    found: dict[str, Path] = {}
    for path in sorted(folder.glob(pattern)):
        wanted = (extension.lower(),) if extension else IMAGE_SUFFIXES
        relative = path.relative_to(folder)
        if path.suffix.lower() not in wanted or any(part.startswith(".") for part in relative.parts):
            continue
        if not path.stem.endswith(ending) or not path.is_file():
            continue
        name = relative.with_name(path.stem.removesuffix(ending) if ending else path.stem).as_posix()
        other = found.setdefault(name, path)
        if other is not path:
            raise DataError(
                f"{path} and {other} have the same name; keep one, or name one kind: '*{path.suffix}'"
            )
    if not found:
        raise DataError(f"{folder}: no image files" + (f" that end in '{suffix}'" if suffix else ""))
    return found


def pairs_of_list(
    root: Path, listed: Path, images: Mapping[str, Path], masks: Mapping[str, Path] | None
) -> list[tuple[str, Path, Path | None]]:
    """(name, image, mask) of each line of a list: a name, a file name, or an image and a mask path.

    Raises:
        DataError: a line names no file; says which.
    """
    found: list[tuple[str, Path, Path | None]] = []
    for number, line in enumerate(read_list(listed), start=1):
        name = line if line in images else Path(line).with_suffix("").as_posix()
        words = line.split("\t") if "\t" in line else line.split()
        if name in images:
            if masks is not None and name not in masks:
                raise DataError(f"{listed}, entry {number}: '{line}' has an image but no mask")
            found.append((name, images[name], None if masks is None else masks[name]))
        elif len(words) == 2 and all((root / word.lstrip("/")).is_file() for word in words):
            image, mask = (root / word.lstrip("/") for word in words)
            found.append((Path(words[0]).with_suffix("").as_posix().lstrip("/"), image, mask))
        else:
            raise DataError(f"{listed}, entry {number}: '{line}' names no image that is there")
    return found


def _fixed_part(root: Path, text: str) -> tuple[Path, str]:
    """The folder before the first wildcard, and the rest of the pattern."""
    parts = Path(text).parts
    fixed = next((i for i, part in enumerate(parts) if _WILDCARDS & set(part)), len(parts))
    folder = root.joinpath(*parts[:fixed])
    if fixed < len(parts):
        return folder, str(Path(*parts[fixed:]))
    if folder.is_file():
        raise DataError(f"{folder}: is a file; name its folder, and the list of a split in list_file")
    return folder, "*"
