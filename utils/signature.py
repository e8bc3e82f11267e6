"""Signatures of classes that pass ``**options`` up to their base: what a config may really write."""

from __future__ import annotations

import inspect
from collections.abc import Collection


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
