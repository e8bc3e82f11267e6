"""The classes that a checkpoint may name: those of the catalogues, and those that a config of the user's names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from utils.config.file import load_config
from utils.config.user_code import catalogue_only
from utils.errors import ConfigError


def checkpoint_names(
    given: str | Path, checkpoint: Path, *configs: Any, trust: bool = False
) -> AbstractContextManager[None]:
    """Return a context in which names that come from a checkpoint are looked up.

    A config is trusted like a program; so is the ``config.json`` of a run folder that the user names. A checkpoint
    is not: in this context, a name outside the catalogues is imported only if such a config names it too.

    Args:
        given: the run folder or the checkpoint, as the user names it.
        checkpoint: the file that was found there.
        configs: further values that the user gave: configs, or overrides.
        trust: the user trusts the checkpoint.
    """
    own = _run_config(checkpoint.parent) if Path(given).is_dir() else {}
    return catalogue_only({text for value in (own, *configs) for text in _texts(value)}, trust=trust)


def _run_config(folder: Path) -> Mapping[str, Any]:
    try:
        return load_config(folder / "config.json")
    except ConfigError:  # missing or damaged: it names nothing
        return {}


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value; of an override ``KEY=VALUE``, the value."""
    if isinstance(value, str):
        yield value.partition("=")[2].strip('"') if "=" in value else value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
