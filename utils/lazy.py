"""Modules that are imported at their first use.

``--help`` and config errors must answer before cv2, torchvision and TensorBoard have loaded
(together about two seconds), yet the rooms that use them want their names at the top of the file.
"""

from __future__ import annotations

import importlib
from typing import Any


class LazyModule:
    """Stands for a module; imports it when the first attribute is read and keeps what was read."""

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
