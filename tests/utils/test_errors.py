from __future__ import annotations

import copy
import inspect
import pickle
from pathlib import Path

import numpy as np
import pytest

from utils import errors
from utils.data.labels import identity_table
from utils.errors import ConfigError, DataError, Interrupted, LabelError, SegwrightError, first_line

ERRORS = [
    ConfigError(["a.json: x: unknown", "a.json: y: missing"]),
    DataError("7.png: no such file", kind="missing", paths=["7.png"]),
    LabelError(
        "7.png: value 9", kind="unknown_value", paths=[Path("7.png")],
        values=[9], pixels=2, share=0.5, first=(0, 1), allowed=[0, 1],
    ),
    Interrupted("stopped; --resume auto goes on", 15),
    errors.CheckpointError("m.pth: damaged"), errors.ExportError("no"), errors.NonFiniteError("nan"),
    errors.StorageError("full"), SegwrightError("other"),
]  # fmt: skip


def test_every_class_of_errors_is_among_the_examples():
    classes = {c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, SegwrightError)}
    assert {type(error) for error in ERRORS} == classes


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "clone", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy], ids=["pickle", "copy"]
)
def test_an_error_keeps_its_message_exit_code_and_facts_on_the_way_from_a_worker(error, clone):
    arrived = clone(error)
    assert type(arrived) is type(error) and str(arrived) == str(error)
    assert arrived.exit_code == error.exit_code and vars(arrived) == vars(error)


@pytest.mark.parametrize(("error", "code"), [
    (ConfigError("x"), 2), (DataError("x"), 2), (errors.NonFiniteError("x"), 3), (errors.StorageError("x"), 4),
    (Interrupted("x", 2), 130), (Interrupted("x", 15), 143),
])  # fmt: skip
def test_exit_codes_are_those_of_the_documentation(error, code):
    assert error.exit_code == code


def test_a_located_error_names_the_file_and_keeps_its_facts():
    mask = np.array([[0, 9], [9, 1]], np.uint8)
    with pytest.raises(LabelError) as caught:
        identity_table(2).encode(mask, "m.png")
    error = caught.value.at("run/list.txt")
    assert type(error) is LabelError
    assert str(error) == f"run/list.txt: {caught.value}" and not str(caught.value).startswith("run")
    assert error.paths == (Path("run/list.txt"), Path("m.png")) and caught.value.paths == (Path("m.png"),)
    assert (error.kind, error.values, error.share, error.first) == ("unknown_value", (9,), 0.5, (0, 1))


def test_a_data_error_without_facts_is_of_kind_other():
    error = DataError("something")
    assert error.kind == "other" and error.paths == ()


@pytest.mark.parametrize(("message", "line"), [
    ("one", "one"), ("one\ntwo", "one"), ("\n  two  \nthree", "two"), ("", "KeyError"), ("\n \n", "KeyError"),
])  # fmt: skip
def test_the_first_line_is_never_blank(message, line):
    class KeyError(Exception):  # the builtin one shows its argument quoted
        pass

    assert first_line(KeyError(message)) == line
