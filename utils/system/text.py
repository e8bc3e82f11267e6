"""Small operations on the text of errors and of path patterns."""

from __future__ import annotations

from pathlib import Path

WILDCARDS = frozenset("*?[")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message that is not blank; else the name of its class."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


def fixed_part(pattern: Path) -> Path:
    """Return the leading parts of a path pattern up to, and without, the first with a wildcard."""
    parts = pattern.parts
    first = next((i for i, part in enumerate(parts) if WILDCARDS & set(part)), len(parts))
    return Path(*parts[:first])
