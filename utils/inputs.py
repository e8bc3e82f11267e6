"""Finds the images that a command line names, and a name for the result of each."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from utils.errors import DataError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".ppm", ".pgm")


def find_images(patterns: Sequence[str], extension: str | None = None) -> list[tuple[Path, Path]]:
    """Find images in folders (and the folders in them), among files, and by globs.

    Args:
        patterns: folders, files or globs.
        extension: in folders, take only files that end so; ``None`` takes every common image format.

    Returns:
        (image, relative name of its mask): the folder below the named one and the stem are kept; where
        two names would be the same, the images' extensions are kept too.

    Raises:
        DataError: a pattern matches nothing.
    """
    endings = EXTENSIONS if extension is None else (f".{extension.lstrip('.').lower()}",)
    found: dict[Path, Path] = {}
    for pattern in patterns:
        matches = _match(pattern, endings)
        if not matches:
            what = f" that end in {endings[0]}" if extension else ""
            raise DataError(f"--images {pattern}: no images{what} found")
        found |= {image: name for image, name in matches if image not in found}
    return _distinct(found)


def _match(pattern: str, endings: tuple[str, ...]) -> list[tuple[Path, Path]]:
    path = Path(pattern)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in endings and p.is_file())
        return [(file, file.relative_to(path)) for file in files]
    if path.exists():
        return [(path, Path(path.name))]
    matches = sorted(Path(match) for match in glob.glob(pattern, recursive=True))
    files = [match for match in matches if match.is_file()]
    root = Path(os.path.commonpath([file.parent for file in files])) if files else path
    return [(file, file.relative_to(root)) for file in files]


def _distinct(found: dict[Path, Path]) -> list[tuple[Path, Path]]:
    """Replace extensions by ``.png``; keep them where only they tell two images apart."""
    counts = Counter(_folded(name.with_suffix(".png")) for name in found.values())
    jobs: list[tuple[Path, Path]] = []
    taken: dict[str, Path] = {}
    for image, name in found.items():
        plain = name.with_suffix(".png")
        target = name.with_name(f"{name.name}.png") if counts[_folded(plain)] > 1 else plain
        if _folded(target) in taken:
            raise DataError(f"{image} and {taken[_folded(target)]} would both be written to {target}")
        taken[_folded(target)] = image
        jobs.append((image, target))
    return jobs


def _folded(path: Path) -> str:
    """Some file systems do not tell upper from lower case."""
    return str(path).casefold()
