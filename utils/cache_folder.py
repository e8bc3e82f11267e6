"""Where results that can be computed again are kept between runs."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from utils.atomic_file import replacing

_VARIABLE = "SEGWRIGHT_CACHE"


def cache_folder() -> Path:
    """``$SEGWRIGHT_CACHE``, else ``segwright`` below ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if os.environ.get(_VARIABLE):
        return Path(os.environ[_VARIABLE])
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path(os.path.expanduser("~")) / ".cache") / "segwright"  # noqa: PTH111


def load_json(kind: str, key: str) -> Any:
    """What :func:`save_json` stored; ``None`` where there is nothing, or nothing readable."""
    try:
        return json.loads(_path(kind, key).read_text())
    except (OSError, ValueError):
        return None


def save_json(kind: str, key: str, value: Any) -> None:
    """Store ``value`` in one step; a cache that cannot be written is no error."""
    path = _path(kind, key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(value))
    except OSError:
        return


def _path(kind: str, key: str) -> Path:
    return cache_folder() / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
