"""Path patterns with ``*``, ``?``, ``[...]`` and ``**``, and walks that survive loops of links."""

from __future__ import annotations

import fnmatch
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

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


def walk_folders(top: Path, *, hidden: bool = True) -> Iterator[Path]:
    """Yield a folder and all folders below it, each real folder once.

    Links to folders are followed, after all real folders: a folder that is there by itself keeps its own path.
    Folders that cannot be read are left out, with a warning.

    Args:
        top: folder to begin with.
        hidden: enter also folders whose names begin with a dot.
    """
    seen: set[tuple[int, int]] = set()
    pending = [top]
    while pending:
        links: list[Path] = []
        while pending:
            folder = pending.pop()
            below = _folders_in(folder, seen, hidden)
            if below is not None:
                yield folder
                for path in sorted(below, reverse=True):
                    (links if path.is_symlink() else pending).append(path)
        pending = links[::-1]


def _folders_in(folder: Path, seen: set[tuple[int, int]], hidden: bool) -> list[Path] | None:
    """Return the folders in a folder and add it to ``seen``; ``None`` if it was there, or cannot be read."""
    try:
        facts = folder.stat()
        if (facts.st_dev, facts.st_ino) in seen:
            return None
        seen.add((facts.st_dev, facts.st_ino))
        with os.scandir(folder) as entries:
            return [Path(e.path) for e in entries if (hidden or not e.name.startswith(".")) and e.is_dir()]
    except OSError as error:
        logger.warning("%s: left out, because it cannot be read: %s", folder, error.strerror or error)
        return None


def expand(pattern: Path) -> Iterator[Path]:
    """Yield the files and folders that a path pattern matches, links that lead nowhere among them.

    ``**`` follows links to folders and visits each real folder once, on every version of Python. As in
    :mod:`glob`, wildcards do not match names that begin with a dot, unless the pattern does.
    """
    fixed = fixed_part(pattern)
    yield from expand_below(fixed, pattern.parts[len(fixed.parts) :])


def expand_below(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Yield what the parts of a pattern match below a folder, whose own name is no pattern."""
    if not parts:
        if os.path.lexists(folder):
            yield folder
    elif parts[0] == "**":
        for below in walk_folders(folder, hidden=False):
            yield from expand_below(below, parts[1:] or ["*"])
    else:
        for name in _matches(folder, parts[0]):
            yield from expand_below(folder / name, parts[1:])


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
