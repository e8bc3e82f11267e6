"""Path patterns with ``*``, ``?``, ``[...]`` and ``**``."""

from __future__ import annotations

from pathlib import Path

WILDCARDS = frozenset("*?[")


def fixed_part(pattern: Path) -> Path:
    """Return the leading parts of a path pattern up to, and without, the first with a wildcard."""
    parts = pattern.parts
    first = next((i for i, part in enumerate(parts) if WILDCARDS & set(part)), len(parts))
    return Path(*parts[:first])
