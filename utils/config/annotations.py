"""Annotations of options: ranges, and marks for resuming; the check of a JSON value against an annotation."""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin


@dataclass(frozen=True)
class Range:
    """Bounds of a number; ``None`` is no bound."""

    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False

    def allows(self, value: float) -> bool:
        """Return whether ``value`` is inside the bounds."""
        above = self.minimum is None or (
            value > self.minimum if self.exclusive_minimum else value >= self.minimum
        )
        return above and (self.maximum is None or value <= self.maximum)

    def __str__(self) -> str:
        low, high = (_show_bound(bound) for bound in (self.minimum, self.maximum))
        if low and high:
            return f"between {low} and {high}" + (f", not {low}" if self.exclusive_minimum else "")
        if low:
            return f"above {low}" if self.exclusive_minimum else f"at least {low}"
        return f"at most {high}"


def _show_bound(bound: float | None) -> str:
    if bound is None:
        return ""
    return str(bound) if isinstance(bound, int) else f"{bound:g}"  # 1000000, not 1e+06


@dataclass(frozen=True)
class MayChange:
    """Mark of an option that a resumed run may change, because results do not depend on it.

    Attributes:
        only_in: the section of the config in which it may change; ``None`` for all.
    """

    only_in: str | None = None


MAY_CHANGE = MayChange()

PositiveInt = Annotated[int, Range(1)]
NonNegativeInt = Annotated[int, Range(0)]
PositiveFloat = Annotated[float, Range(0, exclusive_minimum=True)]
NonNegativeFloat = Annotated[float, Range(0)]
Fraction = Annotated[float, Range(0, 1)]
Share = Annotated[float, Range(0, 1, exclusive_minimum=True)]
Side = Annotated[int, Range(1, 32767)]  # pixels; cv2 warps no larger image
Threads = Annotated[int, Range(1, 1024)]  # far more end the process inside the threading library
Workers = Annotated[int, Range(0, 1024)]
Copies = Annotated[int, Range(1, 1_000_000)]

_LARGEST_INT = 2**63 - 1  # of torch, numpy and the formats that a run writes
_LARGEST_FLOAT = 3.4028234663852886e38  # of fp32, in which networks compute

_UNIONS = (Union, types.UnionType)
_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    type(None): "null",
    None: "null",
    dict: "an object",
    list: "a list",
    tuple: "a list",
}
_CHECKS: dict[Any, Callable[[Any], bool]] = {
    int: lambda value: isinstance(value, int) and not isinstance(value, bool),
    float: lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    bool: lambda value: isinstance(value, bool),
    str: lambda value: isinstance(value, str),
    dict: lambda value: isinstance(value, dict),
    list: lambda value: isinstance(value, list),
    tuple: lambda value: isinstance(value, list),
    type(None): lambda value: value is None,
    None: lambda value: value is None,
}


def accepts(value: Any, annotation: Any) -> bool:
    """Return whether a JSON value fits an annotation; an annotation not understood accepts every value."""
    if annotation in (Any, object, inspect.Parameter.empty) or isinstance(annotation, str):
        return True  # no information, or a name that only a type checker can resolve
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return accepts(value, args[0]) and _within_ranges(value, args[1:])
    if origin in _UNIONS:
        return any(accepts(value, choice) for choice in args)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in args)
    if isinstance(origin, type):
        return _accepts_container(value, origin, args)
    check = _CHECKS.get(annotation)
    return check is not None and check(value)  # JSON cannot express other classes, such as a tensor


def unusable_values(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield path and reason of every number and text in a JSON value that no option can take.

    Args:
        value: any JSON value.
        path: its JSON path.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            yield from unusable_values(item, f"{path}.{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from unusable_values(item, f"{path}[{number}]")
    else:
        reason = _unusable(value)
        if reason:
            yield path, reason


def _unusable(value: Any) -> str:
    """Return why no option can take a number or text; empty where one can."""
    if isinstance(value, int) and abs(value) > _LARGEST_INT:
        return "a whole number of more than 64 bits cannot be computed with"
    if isinstance(value, float) and not abs(value) <= _LARGEST_FLOAT:
        return f"{value:g} cannot be computed with; the largest number is {_LARGEST_FLOAT:.2g}"
    if isinstance(value, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
        return f"{ascii(value)[:60]} holds a character that is no text (NUL, or bytes that are not UTF-8)"
    return ""


def describe(annotation: Any) -> str:
    """Return in words which values an annotation accepts: ``a whole number, at least 1``."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return ", ".join([describe(args[0]), *(str(extra) for extra in args[1:] if isinstance(extra, Range))])
    if origin in _UNIONS:
        return " or ".join(dict.fromkeys(describe(choice) for choice in args if _expressible(choice)))
    if origin is Literal:
        return "one of " + ", ".join(_quote(choice) for choice in args)
    if isinstance(origin, type):
        return _describe_container(origin, args)
    return _describe_plain(annotation)


def _describe_plain(annotation: Any) -> str:
    if dataclasses.is_dataclass(annotation):
        return "an object"
    return _NAMES.get(annotation, str(annotation))


def may_change(annotation: Any, section: str) -> bool:
    """Return whether an option's annotation carries a mark that lets a resumed run change it.

    Args:
        annotation: of the option.
        section: top-level key of the config that the option is in.
    """
    marks = [extra for extra in get_args(annotation)[1:] if isinstance(extra, MayChange)]
    return get_origin(annotation) is Annotated and any(mark.only_in in (None, section) for mark in marks)


def _within_ranges(value: Any, extras: Sequence[Any]) -> bool:
    ranges = [extra for extra in extras if isinstance(extra, Range)]
    return all(extra.allows(value) for extra in ranges if isinstance(value, (int, float)))


def _accepts_container(value: Any, origin: type, args: tuple[Any, ...]) -> bool:
    if issubclass(origin, tuple):
        return isinstance(value, list) and _accepts_tuple(value, args)
    if issubclass(origin, Mapping):
        return isinstance(value, dict) and all(accepts(item, args[1]) for item in value.values())
    if issubclass(origin, Sequence):
        return isinstance(value, list) and all(accepts(item, args[0]) for item in value)
    return True


def _accepts_tuple(value: list[Any], args: tuple[Any, ...]) -> bool:
    if len(args) == 2 and args[1] is Ellipsis:
        return all(accepts(item, args[0]) for item in value)
    return len(value) == len(args) and all(map(accepts, value, args))


def _describe_container(origin: type, args: tuple[Any, ...]) -> str:
    if issubclass(origin, tuple) and args and args[-1] is not Ellipsis:
        return f"a list of {len(args)} values"
    if issubclass(origin, Mapping):
        told = args and args[1] is not Any
        return f"an object with values that are {describe(args[1])}" if told else "an object"
    if issubclass(origin, Sequence) and args:
        return f"a list with items that are {describe(args[0])}"
    return _NAMES.get(origin, str(origin))


def _expressible(annotation: Any) -> bool:
    """Return whether JSON can express a value of this annotation."""
    known = annotation in _NAMES or dataclasses.is_dataclass(annotation)
    return known or get_origin(annotation) is not None


def _quote(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value).lower()
