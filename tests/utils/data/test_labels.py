from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from utils.data.labels import ColourTable, LabelTable, identity_table
from utils.errors import LabelError


def test_raw_values_become_indices():
    table = LabelTable({7: 0, 8: 1, 0: 255, 1: 255}, 2)
    assert table.encode(np.array([[7, 8], [0, 1]], np.uint8), "m.png").tolist() == [[0, 1], [255, 255]]
    wide = LabelTable({7000: 0, 26001: 1, 0: 255}, 2)
    assert wide.encode(np.array([[7000, 26001, 0]], np.uint16), "m.png").tolist() == [[0, 1, 255]]


def test_indices_are_passed_through_unchanged():
    mask = np.array([[0, 1, 255]], np.uint8)
    assert np.array_equal(identity_table(2).encode(mask, "m.png"), mask)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_an_illegal_value_is_named_with_its_place(dtype):
    """D17."""
    mask = np.zeros((10, 10), dtype)
    mask[4, 7] = 37
    with pytest.raises(
        LabelError, match=r"m\.png: value 37 at 1 % .* row 4, column 7; allowed are 0\.\.2 and 255"
    ):
        identity_table(3).encode(mask, "m.png")


@pytest.mark.parametrize(("values", "classes", "words"), [
    ([0, 255], 2, r'"values": \[0, 255\]'),
    ([0, 15], 2, r'"values": \[0, 15\]'),
    ([1, 2, 3], 3, r"1\.\.3"),
    (list(range(200)), 3, "grey photo"),
])  # fmt: skip
def test_the_likely_mistake_is_named(values, classes, words):
    mask = np.array([values], np.uint8)
    with pytest.raises(LabelError, match=words):
        identity_table(classes, void_values=()).encode(mask, "m.png")


def test_a_table_refuses_classes_that_do_not_exist():
    with pytest.raises(ValueError, match="class 5 of 3"):
        LabelTable({0: 5}, 3)


@pytest.mark.parametrize("legal", [
    [0], [7], [255], [0, 255], [0, 1, 2, 255], [0, 128, 255], list(range(1, 151)), list(range(256)), [3, 4, 9],
])  # fmt: skip
def test_every_single_illegal_value_is_found(legal):
    """One range of values (255 and 0 are neighbours) is checked in another way than several."""
    table = LabelTable({value: 0 for value in legal}, 1)
    mask = np.full((5, 70), legal[-1], np.uint8)
    for value in range(256):
        mask[3, 66] = value
        if value in legal:
            table.encode(mask, "m.png")
        else:
            with pytest.raises(LabelError, match=f"value {value} at"):
                table.encode(mask, "m.png")


def test_colours_become_indices_and_unknown_ones_are_an_error():
    """D26: an unlisted colour is never a class."""
    table = ColourTable({(0, 0, 0): 0, (255, 0, 0): 1, (0, 0, 255): 255})
    mask = np.array([[[0, 0, 0], [255, 0, 0], [0, 0, 255]]], np.uint8)
    assert table.encode(mask, "m.png").tolist() == [[0, 1, 255]]
    mask[0, 1] = (255, 0, 1)
    with pytest.raises(LabelError, match=r"m\.png: colour \(255, 0, 1\) at row 0, column 1"):
        table.encode(mask, "m.png")


def test_encoding_does_not_write_to_the_mask():
    mask = np.array([[7, 0]], np.uint8)
    digest = hashlib.sha256(mask).hexdigest()
    LabelTable({7: 0, 0: 255}, 1).encode(mask, "m.png")
    assert hashlib.sha256(mask).hexdigest() == digest


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_an_error_of_values_carries_its_facts(dtype):
    mask = np.array([[0, 9, 1, 7], [255, 9, 0, 0]], dtype)
    with pytest.raises(LabelError) as caught:
        identity_table(2).encode(mask, "masks/m.png")
    error = caught.value
    assert (error.kind, error.paths) == ("unknown_value", (Path("masks/m.png"),))
    assert error.values == (7, 9) and error.allowed == (0, 1, 255)
    assert (error.pixels, error.share, error.first) == (3, 3 / 8, (0, 1))


def test_an_error_of_colours_carries_its_facts():
    table = ColourTable({(0, 0, 0): 0, (255, 0, 0): 1, (0, 0, 255): 255})
    mask = np.zeros((2, 4, 3), np.uint8)
    mask[1, 2], mask[1, 3], mask[0, 0] = (1, 2, 3), (1, 2, 3), (255, 0, 0)
    mask[0, 3] = (9, 9, 9)
    with pytest.raises(LabelError) as caught:
        table.encode(mask, "m.png")
    error = caught.value
    assert (error.kind, error.paths) == ("unknown_colour", (Path("m.png"),))
    assert error.values == ((1, 2, 3), (9, 9, 9)) and set(error.allowed) == {
        (0, 0, 0),
        (255, 0, 0),
        (0, 0, 255),
    }
    assert (error.pixels, error.share, error.first) == (3, 3 / 8, (0, 3))


def test_an_error_of_a_photo_carries_a_bounded_number_of_colours():
    photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    with pytest.raises(LabelError) as caught:
        ColourTable({(0, 0, 0): 0}).encode(photo, "m.png")
    assert len(caught.value.values) == 256 and caught.value.pixels > 4000
