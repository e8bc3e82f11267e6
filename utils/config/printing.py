"""A config as text, each value with its origin, defaults included: ``train.py --print-config``."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

from utils.config.factory import Catalogue, find, join, parameters_of
from utils.config.parse import is_key, is_required, section_in
from utils.config.sections import Experiment

_INDENT = "  "


def annotated(experiment: Experiment) -> str:
    """Return the config as JSON with comments, which train.py reads back as the same config.

    A comment names the origin of each value; keys that the config leaves out stand in comments of their own,
    with their defaults.
    """
    lines = _object(experiment.plain, Experiment, "", experiment, _INDENT)
    return "\n".join(["{", *lines, "}"])


def _object(
    value: Mapping[str, Any],
    kind: Any,
    path: str,
    experiment: Experiment,
    indent: str,
) -> Iterator[str]:
    """Yield the lines inside an object: the values given, then the defaults of the others."""
    last = list(value)[-1] if value else None
    for key, item in value.items():
        place, comma = join(path, key), "" if key == last else ","
        below = _kind_of(kind, path, key, value, experiment.catalogues)
        if isinstance(item, dict) and (item or below):
            yield f"{indent}{json.dumps(key)}: {{"
            yield from _object(item, below, place, experiment, indent + _INDENT)
            yield f"{indent}}}{comma}"
        else:
            text = json.dumps(item, ensure_ascii=False)
            yield f"{indent}{json.dumps(key)}: {text}{comma}  // {experiment.origins[place]}"
    for key, default in _defaults(kind, experiment.catalogues.get(path.removesuffix(".args"))):
        if key not in value:
            yield f"{indent}// {json.dumps(key)}: {default}  (default)"


def _kind_of(
    kind: Any,
    path: str,
    key: str,
    parent: Mapping[str, Any],
    catalogues: Mapping[str, Catalogue[Any]],
) -> Any:
    """Return the section, or for ``args`` the class, whose parameters are the keys of an object."""
    if key == "args" and path in catalogues:
        return find(catalogues[path], parent["type"], f"{path}.type")
    return section_in(get_type_hints(kind).get(key)) if dataclasses.is_dataclass(kind) else None


def _defaults(kind: Any, catalogue: Catalogue[Any] | None) -> Iterator[tuple[str, str]]:
    """Yield the keys that may be left out, with their defaults as JSON."""
    if dataclasses.is_dataclass(kind):
        for key in dataclasses.fields(kind):
            if is_key(key) and not is_required(key):
                made = key.default_factory() if callable(key.default_factory) else key.default
                plain = made.type if dataclasses.is_dataclass(made) else made  # type: ignore[union-attr]
                yield key.name, json.dumps(plain)
    elif kind is not None:
        context = catalogue.context if catalogue else frozenset()
        for name, parameter in parameters_of(kind).items():
            if parameter.default is not inspect.Parameter.empty and name not in context:
                yield name, json.dumps(parameter.default, default=str)
