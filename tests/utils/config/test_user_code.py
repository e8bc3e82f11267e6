"""Errors inside the module of a user are one line with the user's file and line; a checkpoint imports nothing."""

from __future__ import annotations

import pytest
import torch

from utils.config.factory import Catalogue, Component, build, check_component
from utils.config.user_code import catalogue_only, source_of
from utils.errors import ConfigError

LAYERS = Catalogue(torch.nn, torch.nn.Module, "layer")
CLASS = "import torch\nclass Mine(torch.nn.Identity):\n    def __init__(self):\n        "


@pytest.fixture
def write(tmp_path, monkeypatch, request):
    """Write a module of the user's on the path, under a name of its own; return the name and the file."""
    monkeypatch.syspath_prepend(tmp_path)
    name = f"users_{abs(hash(request.node.name))}"

    def make(text: str):
        (tmp_path / f"{name}.py").write_text(text)
        return name, tmp_path / f"{name}.py"

    return make


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("x = 1\nclass Mine(\n", "SyntaxError: '(' was never closed", 2),
        ("import torch\n\nwidth = widht\n", "NameError: name 'widht' is not defined", 3),
        ("import sys\nsys.exit()\n", "it calls sys.exit", 2),
        ("import sys\nsys.exit(3)\n", "it calls sys.exit", 2),
        ("1 / 0\n", "ZeroDivisionError: division by zero", 1),
        ("import json\njson.loads('{')\n", "JSONDecodeError", 2),
        ("import no_such_package\n", "No module named 'no_such_package'", 1),
    ],
)
def test_a_module_that_fails_names_its_file_and_line(write, text, words, line):
    name, file = write(text)
    (problem,) = check_component(LAYERS, Component(f"{name}.Mine"), "arch")
    assert problem.startswith(f"arch.type: cannot import '{name}.Mine': ")
    assert words in problem
    assert problem.endswith(f"({file}, line {line})") and "\n" not in problem


@pytest.mark.parametrize("name", ["..", ".", ".a", "a.", "a..B", "a b.C", "1.2"])
def test_a_name_that_is_no_path_of_a_class_is_one_line(name):
    (problem,) = check_component(LAYERS, Component(name), "arch")
    assert problem == f"arch.type: '{name}' is not a name of the form package.module.Class"


def test_a_module_without_the_class_says_so(write):
    name, _ = write("x = 1\n")
    (problem,) = check_component(LAYERS, Component(f"{name}.Mine"), "arch")
    assert problem == f"arch.type: cannot import '{name}.Mine': module '{name}' has no attribute 'Mine'"


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("{}['width']", "KeyError: 'width'"),
        ("raise ValueError('too wide')", "too wide"),
        ("raise SystemExit(1)", "it calls sys.exit"),
        ("import torch; torch.zeros(2) @ torch.zeros(3)", "RuntimeError: "),
    ],
)
def test_a_constructor_that_fails_names_its_file_and_line(write, statement, words):
    name, file = write(CLASS + statement + "\n")
    with pytest.raises(ConfigError) as caught:
        build(LAYERS, Component(f"{name}.Mine"), "arch")
    message = str(caught.value)
    assert message.startswith(f"arch.args: {name}.Mine: {words}") and "\n" not in message
    assert message.endswith(f"({file}, line 4)")


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_ctrl_c_and_exhausted_memory_pass(write, error):
    name, _ = write(CLASS + f"raise {error.__name__}\n")
    with pytest.raises(error):
        build(LAYERS, Component(f"{name}.Mine"), "arch")


def test_within_the_catalogue_only_no_module_is_imported(write, tmp_path):
    name, _ = write(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n" + CLASS + "super().__init__()\n")
    with catalogue_only():
        (problem,) = check_component(LAYERS, Component(f"{name}.Mine"), "arch")
        assert check_component(LAYERS, Component("Identity"), "arch") == []
    assert problem.startswith(f"arch.type: '{name}.Mine' is outside the catalogue") and "--trust" in problem
    assert not (tmp_path / "ran").exists()
    with catalogue_only({f"{name}.Mine"}):
        assert type(build(LAYERS, Component(f"{name}.Mine"), "arch")).__name__ == "Mine"
    assert (tmp_path / "ran").exists()
    build(LAYERS, Component(f"{name}.Mine"), "arch")


def test_the_source_of_a_function_is_its_definition():
    def here() -> None: ...

    assert source_of(here) == f" ({__file__}, line {here.__code__.co_firstlineno})"
    assert source_of(len) == ""
