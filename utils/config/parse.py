"""A config's plain values as checked, typed sections: every mistake is found in one pass, with its JSON path."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args, get_type_hints

from utils.config.annotations import accepts, describe, unusable_values
from utils.config.factory import (
    Catalogue,
    Component,
    Problem,
    check_component,
    did_you_mean,
    join,
    show,
)
from utils.config.file import ConfigSource, is_within, leaves
from utils.config.sections import Experiment
from utils.errors import ConfigError

T = TypeVar("T")
CrossCheck = Callable[[Experiment], list[str]]  # marked by utils.config.sections.cross_check


@dataclass
class Mistakes:
    """The mistakes found so far.

    Attributes:
        problems: one line each.
        paths: JSON paths of values that are missing or wrong; nothing that depends on them is checked.
    """

    problems: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def add(self, problems: Iterable[str]) -> None:
        """Take in mistakes; a :class:`Problem` also says which value is wrong."""
        for problem in problems:
            self.problems.append(problem)
            if isinstance(problem, Problem):
                self.paths.append(problem.path)

    def spoil(self, path: str) -> bool:
        """Return whether the value at ``path``, or an object that it is in, is missing or wrong."""
        return any(is_within(path, wrong) for wrong in self.paths)

    def within(self, path: str) -> bool:
        """Return whether a value in the object at ``path`` is wrong."""
        return any(is_within(wrong, path) for wrong in self.paths)


def parse_experiment(
    source: ConfigSource, catalogues: Mapping[str, Catalogue[Any]], checks: Sequence[CrossCheck] = ()
) -> Experiment:
    """Check a config against the signatures that it names and return its typed sections.

    Nothing is built; neither data nor a GPU is touched.

    Args:
        source: the config.
        catalogues: the classes that each component of an :class:`Experiment` may name.
        checks: cross-checks besides those of :class:`Experiment`.

    Raises:
        ConfigError: with every mistake, each with the config's name and its JSON path.
    """
    found = Mistakes()
    experiment = read_section(Experiment, source.plain, "", found)
    experiment = dataclasses.replace(experiment, plain=source.plain, catalogues=catalogues)
    _check_components(experiment, catalogues, found)
    _cross_check(experiment, checks, found)
    if source.problems or found.problems:
        raise ConfigError([*source.problems, *(f"{source.name}: {problem}" for problem in found.problems)])
    origins = {path: source.origins.get(path, source.name) for path in leaves(source.plain)}
    return dataclasses.replace(experiment, origins=origins)


def _check_components(
    experiment: Experiment, catalogues: Mapping[str, Catalogue[Any]], found: Mistakes
) -> None:
    """Compare every component with the signature of the class that it names."""
    for key, catalogue in catalogues.items():
        component = getattr(experiment, key)
        wrong = found.spoil(f"{key}.type") or found.spoil(f"{key}.args") or found.within(f"{key}.args")
        if isinstance(component, Component) and not wrong:
            found.add(check_component(catalogue, component, key))


def _cross_check(experiment: Experiment, checks: Sequence[CrossCheck], found: Mistakes) -> None:
    """Run the checks all of whose keys are right."""
    own = [check for check in vars(Experiment).values() if hasattr(check, "reads")]
    for check in (*own, *checks):
        if not any(found.spoil(path) for path in check.reads):
            found.add(check(experiment))


def read_section(cls: type[T], value: Mapping[str, Any], path: str, found: Mistakes) -> T:
    """Return a section with the values given and the defaults of the others.

    A value that is missing or wrong is ``None`` in the result, and its path is in ``found``.
    """
    hints = get_type_hints(cls, include_extras=True)
    keys = {key.name: key for key in dataclasses.fields(cls) if is_key(key)}  # type: ignore[arg-type]
    owner = path or "a config"
    for key in value.keys() - keys.keys():
        hint = did_you_mean(key, keys) or f". It takes: {', '.join(keys)}"
        found.add([Problem(join(path, key), f"{owner} has no such argument{hint}")])
    made: dict[str, Any] = {}
    for name, declared in keys.items():
        if name in value:
            made[name] = _read_value(value[name], hints[name], declared, join(path, name), found)
        elif is_required(declared):
            found.add([Problem(join(path, name), f"missing; {owner} needs it")])
            made[name] = None
    return cls(**made)


def is_key(key: dataclasses.Field[Any]) -> bool:
    """Return whether a field of a section is a key of the config."""
    return bool(key.metadata.get("key", True))


def is_required(key: dataclasses.Field[Any]) -> bool:
    """Return whether a field of a section has no default."""
    return key.default is dataclasses.MISSING and key.default_factory is dataclasses.MISSING


def section_in(annotation: Any) -> type | None:
    """Return the dataclass in an annotation such as ``Component | None``."""
    for choice in (annotation, *get_args(annotation)):
        if isinstance(choice, type) and dataclasses.is_dataclass(choice):
            return choice
    return None


def _read_value(value: Any, annotation: Any, key: dataclasses.Field[Any], path: str, found: Mistakes) -> Any:
    section = section_in(annotation)
    unusable = [] if section is not None and isinstance(value, dict) else [*unusable_values(value, path)]
    if unusable:
        found.add(Problem(place, reason) for place, reason in unusable)
        return value if isinstance(value, dict) else None
    name_alone = bool(key.metadata.get("name_alone"))
    if section is not None and isinstance(value, dict):
        return read_section(section, value, path, found)
    if name_alone and isinstance(value, str):
        return Component(value)
    if accepts(value, annotation):
        return value
    expected = f"{'a text or ' if name_alone else ''}{describe(annotation)}"
    found.add([Problem(path, f"expected {expected}, got {show(value)}")])
    return None
