"""Files of a data set that a folder or a pattern names, each with the name that pairs it."""

from __future__ import annotations

from pathlib import Path

from utils.data.pairing import IMAGE_SUFFIXES, require_access, warn_dangling
from utils.errors import DataError
from utils.system.patterns import WILDCARDS, expand_below, fixed_part, walk_folders


def find_files(root: Path, text: str, suffix: str = "", *, varying: bool = False) -> dict[str, Path]:
    """Find image files, and name each by its path below the folder, without extension and suffix.

    Links to folders are followed, and each real folder is searched once. A file whose name is the suffix
    alone, ``case1/mask.png``, has the name of its folder.

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
    require_access(folder)
    found: dict[str, Path] = {}
    paths = sorted(set(expand_below(folder, Path(pattern).parts)))
    warn_dangling(folder, paths)
    for path in paths:
        relative = path.relative_to(folder)
        if not _is_wanted(path, relative, extension, ending):
            continue
        name = _name(without_spelt_out(relative, pattern) if varying else relative, ending)
        other = found.setdefault(name, path)
        if other is not path:
            raise DataError(
                f"{path} and {other} have the same name; keep one, or name one kind: '*{path.suffix}'",
                kind="duplicate",
                paths=[path, other],
            )
    if not found:
        below = "" if pattern != "*" else _advice(folder, text, extension, ending)
        message = "no image files" + (f" that end in '{suffix}'" if suffix else "") + below
        raise DataError(f"{folder}: {message}", kind="missing", paths=[folder])
    return found


def _name(relative: Path, ending: str) -> str:
    """Return the name of a file; one whose name is the ending alone is named by its folder."""
    stem = relative.stem.removesuffix(ending) if ending else relative.stem
    if stem:
        return relative.with_name(stem).as_posix()
    return relative.parent.as_posix() if relative.parent.name else relative.stem


def _advice(folder: Path, text: str, extension: str, ending: str) -> str:
    """Return how many files of a folder without any lie in the folders below, and the pattern that names them."""
    found = [
        path
        for below in walk_folders(folder, hidden=False)
        for path in below.iterdir()
        if _is_wanted(path, path.relative_to(folder), extension, ending)
    ]
    if not found:
        return ""
    kinds = {path.suffix for path in found}
    pattern = f"{text.rstrip('/')}/**/*{kinds.pop() if len(kinds) == 1 else ''}"
    return f" directly in it, {len(found)} in folders below: write {pattern}"


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
