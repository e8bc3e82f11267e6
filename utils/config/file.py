"""Reads a config file: JSON with comments in, plain values out; every oddity is an error with its place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from utils.errors import ConfigError

# A comment, or a string that may look as if it held one.
_COMMENT_OR_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_MAX_DEPTH = 50


def load_config(path: str | Path) -> dict[str, Any]:
    """Read a JSON file that may carry ``//`` and ``/* */`` comments.

    Raises:
        ConfigError: unreadable, not JSON, duplicate keys, NaN or infinity, or not an object.
    """
    name = str(path)
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{name}: no such config file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: cannot be read: {error}") from error
    return parse_config(text, name)


def parse_config(text: str, name: str = "config") -> dict[str, Any]:
    """Parse the text of a config; see :func:`load_config`."""
    try:
        config = json.loads(
            strip_comments(text),
            object_pairs_hook=lambda pairs: _object(pairs, name),
            parse_constant=lambda word: _refuse_constant(word, name),
            parse_float=lambda digits: _finite(digits, name),
        )
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{name}: line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}"
        ) from None
    except RecursionError:
        raise ConfigError(f"{name}: nested too deeply") from None
    except ValueError as error:  # a whole number of thousands of digits
        raise ConfigError(f"{name}: not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise ConfigError(f"{name}: the file must hold one object: {{...}}")
    if _depth(config) > _MAX_DEPTH:
        raise ConfigError(f"{name}: nested too deeply")
    return config


def strip_comments(text: str) -> str:
    """Blank out ``//`` and ``/* */`` comments; line and column numbers stay as they were."""
    return _COMMENT_OR_STRING.sub(
        lambda match: match[0] if match[0][0] == '"' else re.sub(r"[^\n]", " ", match[0]), text
    )


def apply_overrides(config: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return a copy of ``config`` with ``key.path=value`` settings applied.

    The value is read as JSON where it is JSON, else as text. A missing object on the way is made.

    Raises:
        ConfigError: no ``=`` in a setting, or a path that leads through something not an object.
    """
    changed = json.loads(json.dumps(config))
    for setting in overrides:
        path, equals, text = setting.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise ConfigError(f"--set {setting}: expected key.path=value")
        try:
            value = json.loads(text, parse_constant=lambda word: _refuse_constant(word, "--set"))
        except json.JSONDecodeError:
            value = text
        node = changed
        for key in keys[:-1]:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise ConfigError(f"--set {setting}: '{key}' is not an object")
        node[keys[-1]] = value
    return changed


def save_config(config: Mapping[str, Any], path: str | Path) -> None:
    """Write strict JSON."""
    Path(path).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def differences(old: Any, new: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """JSON paths at which two configs differ, with both values (``None`` where one has nothing)."""
    if isinstance(old, dict) and isinstance(new, dict):
        found: dict[str, tuple[Any, Any]] = {}
        for key in dict.fromkeys([*old, *new]):
            found |= differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
        return found
    return {} if old == new and type(old) is type(new) else {path: (old, new)}


def _object(pairs: list[tuple[str, Any]], name: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ConfigError(f"{name}: the key '{key}' stands twice in one object")
        result[key] = value
    return result


def _refuse_constant(word: str, name: str) -> Any:
    raise ConfigError(f"{name}: {word} is not a number that a config may hold")


def _finite(digits: str, name: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        _refuse_constant(digits, name)
    return value


def _depth(value: Any) -> int:
    """Nesting depth, found without recursion."""
    deepest, level = 0, [value]
    while level and deepest <= _MAX_DEPTH:
        deepest += 1
        children = (v.values() if isinstance(v, dict) else v for v in level if isinstance(v, (dict, list)))
        level = [item for group in children for item in group]
    return deepest
