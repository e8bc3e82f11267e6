"""Builds the objects that a config names, by reflection: a constructor's signature is its schema."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Collection, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any, TypeVar

from utils.config.annotations import accepts, describe
from utils.errors import ConfigError

T = TypeVar("T")
Namespace = ModuleType | SimpleNamespace
Spec = Mapping[str, Any]  # {"type": name or dotted path, "args": {...}}


def catalogue(namespace: Namespace, kind: type[T]) -> dict[str, type[T]]:
    """Public concrete subclasses of ``kind`` among a module's attributes; an alias is a second name."""
    return {
        name: member
        for name, member in vars(namespace).items()
        if not name.startswith("_")
        and inspect.isclass(member)
        and issubclass(member, kind)
        and member is not kind
        and not inspect.isabstract(member)
    }


def find(namespace: Namespace, kind: type[T], name: str, path: str) -> type[T]:
    """The class that a config calls ``name``: of the catalogue, or ``package.module.Class``.

    Raises:
        ConfigError: there is no such class, or it is not a ``kind``.
    """
    known = catalogue(namespace, kind)
    if name in known:
        return known[name]
    if "." in name:
        return _import_class(name, kind, path)
    word = _kind_word(kind)
    raise ConfigError(
        f"{path}: no {word} called '{name}'{did_you_mean(name, known) or '.'} Choose from: {', '.join(known)}"
    )


def check_spec(
    namespace: Namespace, kind: type, spec: Spec, path: str, context: Collection[str] = ()
) -> list[str]:
    """Every mistake of ``spec``, one line each, without building anything.

    Args:
        namespace: the module whose classes may be named.
        kind: the base class they must have.
        spec: ``{"type": ..., "args": {...}}``.
        path: where the spec stands in the config, for the messages.
        context: names that the program passes at build time, so they may be missing here.
    """
    try:
        cls: type = find(namespace, kind, spec["type"], f"{path}.type")
    except ConfigError as error:
        return error.problems
    args = spec.get("args", {})
    return check_arguments(cls, args, f"{path}.args", context, owner=spec["type"])


def check_arguments(
    target: Any, args: Mapping[str, Any], path: str, context: Collection[str] = (), owner: str = ""
) -> list[str]:
    """Compare JSON arguments with the signature of ``target``: unknown, missing, wrong type or range."""
    parameters = _parameters(target)
    owner = owner or target.__name__
    problems = []
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    for key, value in args.items():
        parameter = parameters.get(key)
        if parameter is None or parameter.kind is inspect.Parameter.VAR_KEYWORD:
            if not open_ended:
                visible = [name for name in parameters if name not in context]
                hint = did_you_mean(key, visible) or f" It takes: {', '.join(visible)}"
                problems.append(f"{path}.{key}: {owner} has no such argument{hint}".rstrip())
        elif key not in context and not accepts(value, parameter.annotation):
            problems.append(f"{path}.{key}: expected {describe(parameter.annotation)}, got {_show(value)}")
    for name, parameter in parameters.items():
        if _is_required(parameter) and name not in args and name not in context:
            problems.append(f"{path}.{name}: missing; {owner} needs it")
    return problems


def build(namespace: Namespace, kind: type[T], spec: Spec, path: str, **context: Any) -> T:
    """Build the object that ``spec`` names.

    Args:
        namespace: the module whose classes may be named.
        kind: the base class they must have.
        spec: ``{"type": ..., "args": {...}}``.
        path: where the spec stands in the config, for the messages.
        context: runtime values, passed to the constructor only where its signature names them. A
            config may repeat one as a check; a different value there is an error.

    Raises:
        ConfigError: unknown class or argument, or the constructor refused a value.
    """
    problems = check_spec(namespace, kind, spec, path, context)
    if problems:
        raise ConfigError(problems)
    cls = find(namespace, kind, spec["type"], f"{path}.type")
    return call(cls, spec.get("args", {}), f"{path}.args", owner=spec["type"], **context)


def call(target: Any, args: Mapping[str, Any], path: str, owner: str = "", **context: Any) -> Any:
    """Call ``target`` with JSON arguments and the context that it asks for by name.

    Raises:
        ConfigError: the two disagree, or ``target`` raised ValueError or TypeError.
    """
    owner = owner or target.__name__
    parameters = _parameters(target)
    asked = {name: value for name, value in context.items() if name in parameters}
    for name in asked.keys() & args.keys():
        if not isinstance(args[name], type(asked[name])) or args[name] != asked[name]:
            raise ConfigError(
                f"{path}.{name}: {_show(args[name])} is not the value derived for it; leave it out"
            )
    try:
        return target(**{**args, **asked})
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: {owner}: {error}") from error


def did_you_mean(word: str, choices: Collection[str]) -> str:
    """``; did you mean 'x'?`` where something close exists, else ``.`` or nothing to choose from."""
    by_lower = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean '{by_lower[close[0]]}'?" if close else ""


def _parameters(target: Any) -> dict[str, inspect.Parameter]:
    try:
        signature = inspect.signature(target, eval_str=True)
    except NameError:  # an annotation of a foreign class that only its type checker can see
        signature = inspect.signature(target)
    return dict(signature.parameters)


def _is_required(parameter: inspect.Parameter) -> bool:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is inspect.Parameter.empty and parameter.kind not in variadic


def _import_class(dotted: str, kind: type[T], path: str) -> type[T]:
    module_name, _, class_name = dotted.rpartition(".")
    try:
        member = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{path}: cannot import '{dotted}': {error}") from error
    if not (inspect.isclass(member) and issubclass(member, kind)) or inspect.isabstract(member):
        raise ConfigError(f"{path}: '{dotted}' is not a concrete subclass of {kind.__name__}")
    return member


def _kind_word(kind: type) -> str:
    return {
        "BaseModel": "model",
        "BaseDataLoader": "data set",
        "BaseLoss": "loss",
        "Optimizer": "optimizer",
        "LRScheduler": "learning-rate scheduler",
    }.get(kind.__name__, kind.__name__)


def _show(value: Any) -> str:
    """A JSON value as the user wrote it, shortened."""
    text = {True: "true", False: "false", None: "null"}.get(value) if _is_word(value) else None
    text = text or (f"'{value}'" if isinstance(value, str) else str(value))
    return text if len(text) <= 60 else text[:57] + "..."


def _is_word(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def merged_parameters(cls: type, last: type, hidden: Collection[str] = ()) -> dict[str, inspect.Parameter]:
    """Parameters of ``cls()`` with ``**options`` replaced by what the next class up takes.

    Args:
        cls: a class; annotations are resolved in the module of each constructor.
        last: the class up to which constructors are read.
        hidden: parameters of a base that the subclass sets itself.

    Returns:
        Keyword parameters by name, those without a default first.
    """
    found: dict[str, inspect.Parameter] = {}
    for owner in cls.__mro__:
        if "__init__" not in vars(owner) or not issubclass(owner, last):
            continue
        own = list(inspect.signature(vars(owner)["__init__"], eval_str=True).parameters.values())[1:]
        for parameter in own:
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD and parameter.name not in hidden:
                keyword = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
                found.setdefault(parameter.name, keyword)
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in own):
            break
    required = {n: p for n, p in found.items() if p.default is inspect.Parameter.empty}
    return {**required, **found}
