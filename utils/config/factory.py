"""Building the objects that a config names, by reflection: a constructor's signature is its schema."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any, Generic, TypeVar

from utils.config.annotations import accepts, describe
from utils.config.user_code import import_class, reporting
from utils.errors import ConfigError

T = TypeVar("T")
Namespace = ModuleType | SimpleNamespace


@dataclass(frozen=True)
class Component:
    """A class that a config chooses by name, with the arguments of its constructor.

    Attributes:
        type: a name of the catalogue, or ``package.module.Class``.
        args: arguments of its constructor.
    """

    type: str
    args: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_plain(cls, spec: Any, path: str) -> Component:
        """Read ``{"type": ..., "args": {...}}``.

        Raises:
            ConfigError: the value has another form.
        """
        args = spec.get("args", {}) if isinstance(spec, Mapping) else None
        if not isinstance(spec, Mapping) or not isinstance(spec.get("type"), str):
            raise ConfigError(f"{path}.type: missing; it names a class")
        if not isinstance(args, Mapping):
            raise ConfigError(f"{path}.args: expected an object, got {show(args)}")
        return cls(spec["type"], dict(args))


@dataclass(frozen=True)
class Catalogue(Generic[T]):
    """The classes that a section of a config may name.

    Attributes:
        namespace: the module whose public concrete subclasses of ``kind`` may be named.
        kind: their base class.
        word: what one of them is called in messages, such as ``model``.
        context: names of arguments that the program passes when it builds, so that a config need not.
    """

    namespace: Namespace
    kind: type[T]
    word: str
    context: frozenset[str] = frozenset()

    def classes(self) -> dict[str, type[T]]:
        """Return the classes by name; an alias is a second name of a class."""
        return {
            name: member
            for name, member in vars(self.namespace).items()
            if not name.startswith("_")
            and inspect.isclass(member)
            and issubclass(member, self.kind)
            and member is not self.kind
            and not inspect.isabstract(member)
        }


class Problem(str):
    """A line that describes a mistake in a config; begins with the JSON path of the mistake.

    Attributes:
        path: the JSON path.
    """

    path: str

    def __new__(cls, path: str, message: str) -> Problem:
        self = super().__new__(cls, f"{path}: {message}")
        self.path = path
        return self


def find(catalogue: Catalogue[T], name: str, path: str) -> type[T]:
    """Return the class called ``name`` in the catalogue, or the one at ``package.module.Class``.

    Raises:
        ConfigError: there is no such class, or it is not a subclass of the catalogue's base class.
    """
    known = catalogue.classes()
    if name in known:
        return known[name]
    if "." in name:
        try:
            return import_class(name, catalogue.kind)
        except ValueError as error:
            raise ConfigError(Problem(path, str(error))) from error
    hint = did_you_mean(name, known) or "."
    raise ConfigError(
        Problem(path, f"no {catalogue.word} called '{name}'{hint} Choose from: {', '.join(known)}")
    )


def check_component(catalogue: Catalogue[Any], component: Component, path: str) -> list[str]:
    """Return every mistake of a component, one line each, without building it.

    A class may define ``check_arguments(args, path)``, a class method that returns one line for each mistake
    that annotations cannot express; it is called when every argument has the right type.
    """
    try:
        cls = find(catalogue, component.type, f"{path}.type")
    except ConfigError as error:
        return error.problems
    args_path = f"{path}.args"
    problems: list[str] = [
        *check_arguments(cls, component.args, args_path, catalogue.context, owner=component.type)
    ]
    further = getattr(cls, "check_arguments", None)
    if not problems and further is not None:
        problems += further(component.args, args_path)
    return problems


def require(catalogue: Catalogue[Any], component: Component, path: str) -> None:
    """Raise what :func:`check_component` finds, for a component that is not part of a checked experiment.

    Raises:
        ConfigError: with every mistake.
    """
    problems = check_component(catalogue, component, path)
    if problems:
        raise ConfigError(problems)


def refuse(problems: Sequence[str]) -> None:
    """Raise a ValueError that lists the problems, one a line, if there are any; for constructors."""
    if problems:
        raise ValueError("\n".join(problems))


def check_arguments(
    target: Any, args: Mapping[str, Any], path: str, context: Collection[str] = (), owner: str = ""
) -> list[Problem]:
    """Compare JSON arguments with the signature of ``target``: unknown, missing, of a wrong type or range."""
    parameters = parameters_of(target)
    owner = owner or target.__name__
    named = {n: p for n, p in parameters.items() if p.kind is not inspect.Parameter.VAR_KEYWORD}
    visible = [name for name in named if name not in context]
    unknown = args.keys() - named.keys() if len(named) == len(parameters) else set()
    problems = []
    for key, value in args.items():
        if key in unknown:
            hint = did_you_mean(key, visible) or f". It takes: {', '.join(visible)}"
            problems.append(Problem(join(path, key), f"{owner} has no such argument{hint}".rstrip()))
        elif key in visible:
            problems += _check_value(value, named[key].annotation, join(path, key))
    return problems + _check_present({name: named[name] for name in visible}, args, path, owner)


def _check_value(value: Any, annotation: Any, path: str) -> list[Problem]:
    if accepts(value, annotation):
        return []
    return [Problem(path, f"expected {describe(annotation)}, got {show(value)}")]


def _check_present(
    parameters: Mapping[str, inspect.Parameter], args: Mapping[str, Any], path: str, owner: str
) -> list[Problem]:
    missing = [name for name, parameter in parameters.items() if _is_required(parameter) and name not in args]
    return [Problem(join(path, name), f"missing; {owner} needs it") for name in missing]


def build(catalogue: Catalogue[T], component: Component, path: str, **context: Any) -> T:
    """Build the object that a checked component names.

    Args:
        catalogue: the classes that may be named.
        component: the class and its arguments.
        path: JSON path of the component, for messages.
        context: runtime values, passed to the constructor where its signature names them. A config may
            repeat one as a check; a different value there is an error.

    Raises:
        ConfigError: unknown class, or the constructor refused a value.
    """
    cls = find(catalogue, component.type, f"{path}.type")
    parameters = parameters_of(cls)
    asked = {name: value for name, value in context.items() if name in parameters}
    for name in asked.keys() & component.args.keys():
        given = component.args[name]
        if not isinstance(given, type(asked[name])) or given != asked[name]:
            raise ConfigError(
                f"{path}.args.{name}: {show(given)} is not the value derived for it; leave it out"
            )
    own = reporting(component.type) if "." in component.type else nullcontext()
    try:
        with own:
            return cls(**{**component.args, **asked})
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        line = str(error) if "." in component.type else f"{component.type}: {error}"
        raise ConfigError(f"{path}.args: {line}") from error


def did_you_mean(word: str, choices: Collection[str]) -> str:
    """Return ``; did you mean 'x'?`` for the closest choice, or an empty string where none is close."""
    by_lower = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean '{by_lower[close[0]]}'?" if close else ""


def parameters_of(target: Any) -> dict[str, inspect.Parameter]:
    """Return the parameters of a class or function, with annotations resolved where possible."""
    try:
        signature = inspect.signature(target, eval_str=True)
    except NameError:  # an annotation of a foreign class that only its type checker can see
        signature = inspect.signature(target)
    return dict(signature.parameters)


def merged_parameters(
    cls: type, last: type, hidden: Collection[str] = (), options: type | None = None
) -> dict[str, inspect.Parameter]:
    """Return the parameters of ``cls()`` with ``**options`` replaced by the parameters of the next class up.

    Args:
        cls: a class; annotations are resolved in the module of each constructor.
        last: the class up to which constructors are read.
        hidden: parameters of a base class that the subclass sets itself.
        options: the dataclass that takes the ``**options`` of ``last``; its fields come before the
            keyword-only parameters of ``last``, and a field that ``last`` names itself is left out.

    Returns:
        Keyword parameters by name, those without a default first.
    """
    found: dict[str, inspect.Parameter] = {}
    for owner in cls.__mro__:
        if "__init__" not in vars(owner) or not issubclass(owner, last):
            continue
        own = _own_parameters(owner, options if owner is last else None)
        for parameter in own:
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD and parameter.name not in hidden:
                keyword = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
                found.setdefault(parameter.name, keyword)
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in own):
            break
    required = {n: p for n, p in found.items() if p.default is inspect.Parameter.empty}
    return {**required, **found}


def _own_parameters(owner: type, options: type | None) -> list[inspect.Parameter]:
    """Return the parameters of a class's own constructor, with the fields of ``options`` among them."""
    own = list(inspect.signature(vars(owner)["__init__"], eval_str=True).parameters.values())[1:]
    if options is None:
        return own
    names = {parameter.name for parameter in own}
    fields = inspect.signature(options, eval_str=True).parameters.values()
    first = [parameter for parameter in own if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    last = [parameter for parameter in own if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
    return [*first, *(parameter for parameter in fields if parameter.name not in names), *last]


def join(path: str, key: str) -> str:
    """Return the JSON path of a key of the object at ``path``."""
    return f"{path}.{key}" if path else key


def show(value: Any) -> str:
    """Return a JSON value as the user wrote it, shortened to 60 characters."""
    text = {True: "true", False: "false", None: "null"}.get(value) if _is_word(value) else None
    text = text or (f"'{value}'" if isinstance(value, str) else str(value))
    return text if len(text) <= 60 else text[:57] + "..."


def _is_word(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _is_required(parameter: inspect.Parameter) -> bool:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is inspect.Parameter.empty and parameter.kind not in variadic
