"""Annotations that say the range of a value; the config checker reads them off the signatures."""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin


@dataclass(frozen=True)
class Range:
    """Bounds of a number; ``None`` is no bound."""

    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False

    def allows(self, value: float) -> bool:
        above = self.minimum is None or (
            value > self.minimum if self.exclusive_minimum else value >= self.minimum
        )
        return above and (self.maximum is None or value <= self.maximum)

    def __str__(self) -> str:
        low = "" if self.minimum is None else f"{self.minimum:g}"
        high = "" if self.maximum is None else f"{self.maximum:g}"
        if low and high:
            return f"between {low} and {high}" + (f", not {low}" if self.exclusive_minimum else "")
        if low:
            return f"above {low}" if self.exclusive_minimum else f"at least {low}"
        return f"at most {high}"


PositiveInt = Annotated[int, Range(1)]
NonNegativeInt = Annotated[int, Range(0)]
PositiveFloat = Annotated[float, Range(0, exclusive_minimum=True)]
NonNegativeFloat = Annotated[float, Range(0)]
Fraction = Annotated[float, Range(0, 1)]


_NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    type(None): "null",
    dict: "an object",
    list: "a list",
    tuple: "a list",
}


def accepts(value: Any, annotation: Any) -> bool:
    """Whether a JSON value fits an annotation; an annotation not understood accepts everything."""
    if annotation in (Any, object, inspect.Parameter.empty) or isinstance(annotation, str):
        return True  # says nothing, or a name that only a type checker can resolve
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return accepts(value, args[0]) and _within_ranges(value, args[1:])
    if origin in (Union, types.UnionType):
        return any(accepts(value, choice) for choice in args)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in args)
    if origin is not None and isinstance(origin, type):
        return _accepts_container(value, origin, args)
    if annotation is None or annotation is type(None):
        return value is None
    if annotation is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation in (bool, str, dict):
        return isinstance(value, annotation)
    if annotation in (list, tuple):
        return isinstance(value, list)
    return False  # a class that JSON cannot express, such as a tensor beside float in a union


def describe(annotation: Any) -> str:
    """What an annotation expects, in words: ``a whole number, at least 1``."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        ranges = ", ".join(str(extra) for extra in args[1:] if isinstance(extra, Range))
        return f"{describe(args[0])}, {ranges}" if ranges else describe(args[0])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe(choice) for choice in args if _plain(choice)))
    if origin is Literal:
        return "one of " + ", ".join(_quote(choice) for choice in args)
    if isinstance(origin, type) and issubclass(origin, tuple) and args and args[-1] is not Ellipsis:
        return f"a list of {len(args)} values"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"an object with values that are {describe(args[1])}" if args else "an object"
    if isinstance(origin, type) and issubclass(origin, Sequence) and args:
        return f"a list with items that are {describe(args[0])}"
    if dataclasses.is_dataclass(annotation):
        return "an object"
    return _NAMES.get(type(None) if annotation is None else annotation, str(annotation))


def _within_ranges(value: Any, extras: Sequence[Any]) -> bool:
    ranges = [extra for extra in extras if isinstance(extra, Range)]
    return all(extra.allows(value) for extra in ranges if isinstance(value, (int, float)))


def _accepts_container(value: Any, origin: type, args: tuple[Any, ...]) -> bool:
    if issubclass(origin, tuple):
        if not isinstance(value, list):
            return False
        if len(args) == 2 and args[1] is Ellipsis:
            return all(accepts(item, args[0]) for item in value)
        return len(value) == len(args) and all(map(accepts, value, args))
    if issubclass(origin, Mapping):
        return isinstance(value, dict) and all(accepts(item, args[1]) for item in value.values())
    if issubclass(origin, Sequence):
        return isinstance(value, list) and all(accepts(item, args[0]) for item in value)
    return True


def _plain(annotation: Any) -> bool:
    known = annotation in _NAMES or dataclasses.is_dataclass(annotation)
    return known or get_origin(annotation) is not None


def _quote(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value).lower()
