"""Values against annotations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pytest
from torch import Tensor

from utils.config.annotations import Fraction, PositiveFloat, PositiveInt, accepts, describe


@pytest.mark.parametrize(
    ("value", "annotation", "fits"),
    [
        (1, int, True),
        (True, int, False),
        (1.0, int, False),
        (1, float, True),
        (True, float, False),
        ("1", float, False),
        (None, int | None, True),
        ("a", int | None, False),
        ([1, 2], list[int], True),
        ([1, "2"], list[int], False),
        ([1, 2], tuple[int, int], True),
        ([1], tuple[int, int], False),
        ([1, 2, 3], tuple[int, ...], True),
        (3, Sequence[int], False),
        ("abc", Sequence[str], False),
        ({"a": 1}, dict[str, int], True),
        ({"a": "1"}, dict[str, int], False),
        ("a", Literal["a", "b"], True),
        ("c", Literal["a", "b"], False),
        (1, Literal[True], False),
        (0, PositiveInt, False),
        (1, PositiveInt, True),
        (0, PositiveFloat, False),
        (1.5, Fraction, False),
        ("x", Tensor, False),
        (0.1, float | Tensor, True),
        ("0.1", float | Tensor, False),
        ({}, Any, True),
        (object(), object, True),
    ],
)
def test_accepts(value, annotation, fits):
    assert accepts(value, annotation) is fits


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (PositiveInt, "a whole number, at least 1"),
        (PositiveFloat | None, "a number, above 0 or null"),
        (Literal["a", 2], "one of 'a', 2"),
        (tuple[float, float], "a list of 2 values"),
        (Fraction, "a number, between 0 and 1"),
        (list[str], "a list with items that are a text"),
    ],
)
def test_describe(annotation, words):
    assert describe(annotation) == words
