"""Modules that are imported at their first use.

torchvision takes about two seconds to import. A config error, or a model without it, should not wait for that;
still the modules that use it name it at the top of the file.
"""

from __future__ import annotations

import importlib
from typing import Any


class LazyModule:
    """Stand-in for a module, which it imports when the first attribute is read."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        value = getattr(importlib.import_module(self._name), attribute)
        self.__dict__[attribute] = value  # the next read is an ordinary attribute
        return value


def lazy_import(name: str) -> Any:
    """Return a stand-in for the module ``name``, imported at its first use."""
    return LazyModule(name)
