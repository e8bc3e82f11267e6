"""Modules that are imported at their first use."""

from __future__ import annotations

import sys

import pytest

from utils.system.lazy import lazy_import


@pytest.fixture
def module(tmp_path, monkeypatch) -> str:
    """Name of a module that nobody has imported."""
    (tmp_path / "seldom_used.py").write_text("value = [1, 2]\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "seldom_used"
    sys.modules.pop("seldom_used", None)


def test_a_module_is_imported_when_an_attribute_is_read(module):
    stand_in = lazy_import(module)
    assert module not in sys.modules
    value = stand_in.value
    assert value == [1, 2] and value is sys.modules[module].value
    assert vars(stand_in)["value"] is value  # the next read is an ordinary attribute


def test_questions_of_python_itself_import_nothing(module):
    stand_in = lazy_import(module)
    assert not hasattr(stand_in, "__path__") and module not in sys.modules


def test_a_missing_attribute_is_an_attribute_error(module):
    with pytest.raises(AttributeError, match="nothing"):
        _ = lazy_import(module).nothing
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        _ = lazy_import("no_such_module").value
