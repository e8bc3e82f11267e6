"""Path patterns with ``*``, ``?``, ``[...]`` and ``**``, and walks that survive loops of links."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

WILDCARDS = frozenset("*?[")


def fixed_part(pattern: Path) -> Path:
    """Return the leading parts of a path pattern up to, and without, the first with a wildcard.

    A part such as ``[v2]`` is no wildcard where a file or folder has this very name.
    """
    fixed = Path()
    for part in pattern.parts:
        if WILDCARDS & set(part) and not _exists(fixed / part):
            break
        fixed /= part
    return fixed


def walk_folders(top: Path) -> Iterator[Path]:
    """Yield a folder and all folders below it, each real folder once.

    Links to folders are followed, after all real folders: a folder that is there by itself keeps its own path.
    Folders that cannot be read are left out.
    """
    seen: set[tuple[int, int]] = set()
    pending = [top]
    while pending:
        links: list[Path] = []
        while pending:
            folder = pending.pop()
            with suppress(OSError):
                facts = folder.stat()
                if (facts.st_dev, facts.st_ino) in seen:
                    continue
                seen.add((facts.st_dev, facts.st_ino))
                below = [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir()]
                yield folder
                for path in sorted(below, reverse=True):
                    (links if path.is_symlink() else pending).append(path)
        pending = links[::-1]


def expand(pattern: Path) -> Iterator[Path]:
    """Yield the files and folders that a path pattern matches; ``**`` visits each real folder once.

    As in :mod:`glob`, wildcards do not match names that begin with a dot, unless the pattern does.
    """
    fixed = fixed_part(pattern)
    yield from _expand(fixed, pattern.parts[len(fixed.parts) :])


def _expand(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    if not parts:
        if _exists(folder):
            yield folder
    elif parts[0] == "**":
        for below in walk_folders(folder):
            if not any(part.startswith(".") for part in below.relative_to(folder).parts):
                yield from _expand(below, parts[1:] or ["*"])
    else:
        for name in _matches(folder, parts[0]):
            yield from _expand(folder / name, parts[1:])


def _matches(folder: Path, part: str) -> list[str]:
    """Return the names in a folder that one part of a pattern matches."""
    if not WILDCARDS & set(part) or _exists(folder / part):
        return [part]
    shown = [name for name in _names(folder) if part.startswith(".") or not name.startswith(".")]
    return fnmatch.filter(shown, part)


def _names(folder: Path) -> list[str]:
    with suppress(OSError):
        return sorted(path.name for path in folder.iterdir())
    return []


def _exists(path: Path) -> bool:
    with suppress(OSError, ValueError):
        return path.exists()
    return False
