"""Short texts for messages, from errors and from patterns of paths."""

from __future__ import annotations

from pathlib import Path

WILDCARDS = frozenset("*?[")
_LONGEST = 300  # characters of a message that are worth repeating


def first_line(error: BaseException) -> str:
    """First line of an error's message, or the name of its class if the message is empty."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:_LONGEST]


def fixed_part(pattern: str | Path) -> Path:
    """Leading folders of a path, up to the first part with a wildcard (``*``, ``?`` or ``[``)."""
    parts = Path(pattern).parts
    fixed = next((i for i, part in enumerate(parts) if WILDCARDS & set(part)), len(parts))
    return Path(*parts[:fixed])
