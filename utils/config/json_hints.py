"""Remedies for common mistakes in JSON, which the parser's own message does not name."""

from __future__ import annotations

import json


def explain(error: json.JSONDecodeError) -> str:
    """Return the parser's message, with a remedy for backslashes in paths and bare full stops in numbers."""
    if error.msg.startswith("Invalid \\"):
        return rf"{error.msg}; write \\ for a backslash, or / in a path"
    if error.doc[error.pos : error.pos + 1] == ".":
        return (
            f"{error.msg}; a number has digits on both sides of its full stop, and a comma separates entries"
        )
    return error.msg
