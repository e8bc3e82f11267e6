"""Lists the files of a data set, and pairs images with masks by name, never by position."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from utils.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".npy")


def require_folder(path: Path, hint: str = "") -> Path:
    """``path`` if it is a folder.

    Raises:
        DataError: it is not; the message ends with ``hint``.
    """
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "no such folder"
        raise DataError(f"{path}: {what}" + (f"; {hint}" if hint else ""))
    return path


def list_images(folder: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> list[Path]:
    """Files of a folder with one of the suffixes, sorted by name; hidden ones are left out.

    Raises:
        DataError: there is no such folder.
    """
    require_folder(folder)
    return sorted(
        path for path in folder.iterdir()
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
    )  # fmt: skip


def read_list(path: Path) -> list[str]:
    """Lines of a split file without blank ones, surrounding space and byte-order mark.

    Raises:
        DataError: there is no such file, or it is not text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; it lists the images of the split") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def pair_by_key(
    images: Iterable[Path], masks: Iterable[Path], mask_key: Callable[[Path], str] = lambda path: path.stem,
    image_key: Callable[[Path], str] = lambda path: path.stem,
) -> list[tuple[str, Path, Path]]:  # fmt: skip
    """(key, image, mask) in the order of the images.

    Args:
        images: image files.
        masks: mask files; those without an image are left alone.
        mask_key: what must be equal in a pair; the file name without its suffix by default.
        image_key: the same of an image.

    Raises:
        DataError: an image without a mask, or two files with the same key; names the first three.
    """
    by_key = _by_key(masks, mask_key)
    pairs = [(key, image, by_key.get(key)) for key, image in _by_key(images, image_key).items()]
    missing = [image for _, image, mask in pairs if mask is None]
    if missing:
        raise DataError(f"{len(missing)} images have no mask: {name_some(missing)}")
    return [(key, image, mask) for key, image, mask in pairs if mask is not None]


def require_files(paths: Iterable[Path], what: str) -> None:
    """Check that files exist, reading each folder once.

    Raises:
        DataError: some do not; names the first three.
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
        raise DataError(f"{len(missing)} {what} are missing: {name_some(missing)}")


def name_some(paths: Sequence[Path | str]) -> str:
    """The first three names, and that there are more."""
    return ", ".join(map(str, paths[:3])) + (" ..." if len(paths) > 3 else "")


def _by_key(paths: Iterable[Path], key: Callable[[Path], str]) -> Mapping[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        other = found.setdefault(key(path), path)
        if other is not path:
            raise DataError(f"{path} and {other} have the same name '{key(path)}'; keep one of them")
    return found


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
