"""Config files: JSON with comments, ``extends`` and overrides in, plain values and their origins out."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from utils.config.factory import Problem, join
from utils.config.json_hints import explain
from utils.config.smp_form import translate
from utils.errors import ConfigError

# A comment, or a string, which may contain the characters of a comment.
_COMMENT_OR_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_MAX_DEPTH = 50


@dataclass(frozen=True)
class ConfigSource:
    """A config before it is checked.

    Attributes:
        plain: the merged config: JSON values only; this is what a run saves.
        name: the file, for messages.
        origins: the source of each value (a file or ``--set``) by JSON path.
        notes: one line for each translation of an older form.
        problems: mistakes of the text itself, such as duplicate keys, each with its file.
    """

    plain: dict[str, Any]
    name: str = "config"
    origins: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def read_config(path: str | Path, overrides: Iterable[str] = ()) -> ConfigSource:
    """Read a config file, merge it over the files that it extends, and apply overrides.

    Modules in the current folder and beside the config can be imported from then on.

    Args:
        path: a JSON file that may contain ``//`` and ``/* */`` comments. ``"extends"`` names another such
            file, relative to this one.
        overrides: settings of the form ``key.path=value``.

    Raises:
        ConfigError: a file is unreadable or not JSON, files extend each other in a circle, or an override has
            another form. Duplicate keys are collected in ``problems`` instead.
    """
    for folder in (Path.cwd(), Path(path).resolve().parent):  # where classes of a user's own may be
        if str(folder) not in sys.path:
            sys.path.append(str(folder))  # last: a file there hides no package
    problems: list[str] = []
    merged, origins = _read_extended(Path(path), (), problems)
    plain, notes = translate(merged)
    source = ConfigSource(plain, str(path), origins, tuple(notes), tuple(problems))
    return with_overrides(source, overrides)


def with_overrides(source: ConfigSource, overrides: Iterable[str]) -> ConfigSource:
    """Return a source with ``key.path=value`` settings applied; see :func:`apply_overrides`."""
    overrides = tuple(overrides)
    plain = apply_overrides(source.plain, overrides)
    origins = dict(source.origins)
    for setting in overrides:
        key = setting.partition("=")[0].strip()
        origins = {place: origin for place, origin in origins.items() if not is_within(place, key)}
        origins |= dict.fromkeys(leaves(_at(plain, key), key), "--set")
    return replace(source, plain=plain, origins=origins)


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Read a config file as plain values; see :func:`read_config`.

    Raises:
        ConfigError: as :func:`read_config`, and for duplicate keys.
    """
    source = read_config(path, overrides)
    if source.problems:
        raise ConfigError(source.problems)
    return source.plain


def parse_config(text: str, name: str = "config") -> dict[str, Any]:
    """Parse the text of one config file.

    Raises:
        ConfigError: not JSON, duplicate keys, NaN or infinity, or not an object.
    """
    problems: list[str] = []
    config = _parse(text, name, problems)
    if problems:
        raise ConfigError(problems)
    return config


def strip_comments(text: str) -> str:
    """Replace ``//`` and ``/* */`` comments by spaces, so that line and column numbers stay as they were."""
    return _COMMENT_OR_STRING.sub(
        lambda match: match[0] if match[0][0] == '"' else re.sub(r"[^\n]", " ", match[0]), text
    )


def apply_overrides(config: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return a copy of ``config`` with ``key.path=value`` settings applied.

    The value is read as JSON where it is JSON, else as text. A missing object on the way is created.

    Raises:
        ConfigError: a setting without ``=``, or a path that leads through a value that is no object.
    """
    changed: dict[str, Any] = json.loads(json.dumps(config))
    for setting in overrides:
        path, equals, text = setting.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise ConfigError(f"--set {_cut(setting)}: expected key.path=value")
        value = _override_value(path, text)
        node = changed
        for key in keys[:-1]:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise ConfigError(f"--set {_cut(setting)}: '{key}' is not an object")
        node[keys[-1]] = value
        if len(keys) > _MAX_DEPTH or _depth(changed) > _MAX_DEPTH:
            raise ConfigError(f"--set {_cut(setting)}: nested too deeply")
    return changed


def save_config(config: Mapping[str, Any], path: str | Path) -> None:
    """Write strict JSON."""
    Path(path).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def merge(base: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the values of ``child`` over it; objects are merged key by key, lists replaced.

    Where ``child`` names another ``type``, the ``args`` of ``base`` are dropped: they belong to the other class.
    """
    merged = dict(base)
    if child.get("type", merged.get("type")) != merged.get("type"):
        merged.pop("args", None)
    for key, value in child.items():
        below = merged.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """Yield the JSON path of every value below ``value`` that is not a filled object."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, join(path, key))
    else:
        yield path


def is_within(path: str, parent: str) -> bool:
    """Return whether a JSON path is ``parent`` or below it."""
    return path == parent or path.startswith((f"{parent}.", f"{parent}["))


def _read_extended(
    path: Path, below: tuple[Path, ...], problems: list[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the merged values of a file and of what it extends, with the origin of each."""
    place = path.resolve()
    if place in below:
        circle = " -> ".join(file.name for file in (*below[below.index(place) :], place))
        raise ConfigError(f"{path}: extends: the files extend each other in a circle: {circle}")
    name = str(path)
    own = _parse(_read_text(path, missing="no such config file"), name, problems)
    if "extends" not in own:
        return own, dict.fromkeys(leaves(own), name)
    parent = own.pop("extends")
    if not isinstance(parent, str) or "\0" in parent:
        raise ConfigError(f"{name}: extends: expected the path of a config file, got {json.dumps(parent)}")
    base, origins = _read_extended(path.parent / parent, (*below, place), problems)
    merged = merge(base, own)
    kept = {key: origin for key, origin in origins.items() if key in set(leaves(merged))}
    return merged, {**kept, **dict.fromkeys(leaves(own), name)}


def _read_text(path: Path, missing: str) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: {missing}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def _parse(text: str, name: str, problems: list[str]) -> dict[str, Any]:
    """Parse one file; duplicate keys are added to ``problems``, any other mistake is raised."""
    try:
        config = json.loads(
            strip_comments(text),
            object_pairs_hook=_Object,
            parse_constant=lambda word: _refuse_constant(word, name),
            parse_float=lambda digits: _finite(digits, name),
        )
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{name}: line {error.lineno}, column {error.colno}: not valid JSON: {explain(error)}"
        ) from None
    except RecursionError:
        raise ConfigError(f"{name}: nested too deeply") from None
    except ValueError as error:  # an integer of thousands of digits
        raise ConfigError(f"{name}: not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise ConfigError(f"{name}: the file must hold one object: {{...}}")
    if _depth(config) > _MAX_DEPTH:
        raise ConfigError(f"{name}: nested too deeply")
    problems += [f"{name}: {problem}" for problem in _duplicates(config)]
    plain: dict[str, Any] = _plain(config)
    return plain


class _Object(dict[str, Any]):
    """A JSON object that remembers the keys that stand in it twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        seen: set[str] = set()
        self.duplicates = [key for key, _ in pairs if key in seen or seen.add(key)]  # type: ignore[func-returns-value]


def _duplicates(value: Any, path: str = "") -> Iterator[Problem]:
    if isinstance(value, _Object):
        for key in value.duplicates:
            yield Problem(join(path, key), f"the key '{key}' stands twice in one object")
    for key, item in _items(value):
        yield from _duplicates(item, f"{path}[{key}]" if isinstance(key, int) else join(path, key))


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _at(config: Mapping[str, Any], path: str) -> Any:
    node: Any = config
    for key in path.split("."):
        node = node[key]
    return node


def _override_value(path: str, text: str) -> Any:
    """Return the value of a setting: JSON, else text."""
    name = f"--set {_cut(path)}"
    try:
        return json.loads(
            text,
            parse_constant=lambda word: _refuse_constant(word, name),
            parse_float=lambda digits: _finite(digits, name),
        )
    except json.JSONDecodeError:
        return text
    except RecursionError:
        raise ConfigError(f"{name}: nested too deeply") from None
    except ValueError as error:  # an integer of thousands of digits
        raise ConfigError(f"{name}: {error}") from None


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _refuse_constant(word: str, name: str) -> Any:
    raise ConfigError(f"{name}: {word} is not a number that a config may hold")


def _finite(digits: str, name: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        _refuse_constant(digits, name)
    return value


def _depth(value: Any) -> int:
    """Return the nesting depth, found without recursion."""
    deepest, level = 0, [value]
    while level and deepest <= _MAX_DEPTH:
        deepest += 1
        level = [item for node in level for _, item in _items(node) if isinstance(item, (dict, list))]
    return deepest
