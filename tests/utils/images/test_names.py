"""Class names in any script are readable in a figure, or their indices are, with a table of both."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageFont

from utils.dataset_info import DatasetInfo
from utils.images.draw import overlay
from utils.images.names import drawable_names


@pytest.fixture(autouse=True)
def _fresh():
    drawable_names.cache_clear()


@pytest.mark.parametrize(("classes", "shown"), [
    (("sky", "traffic light", "Strasse-2"), ("sky", "traffic light", "Strasse-2")),
    (("\u5929", "\u6c7d\u8f66", "tree"), ("0", "1", "tree")),
    (("\u0441\u043e\u0431\u0430\u043a\u0430", "\u0643\u0644\u0628", "\u05db\u05dc\u05d1"), ("0", "1", "2")),
    (("v\u00e9lo", "\u010de\u0161tina", "na\u00efve"), ("velo", "cestina", "naive")),
    (("velo", "v\u00e9lo"), ("velo", "1")),  # apart without the accent too
    (("\u00e9", "\u00e8"), ("0", "1")),
    (("a\nb", "\U0001f600", ""), ("0", "1", "")),
    (("1", "\u6c7d"), ("1", "1.")),
])  # fmt: skip
def test_names_are_drawn_or_become_indices(classes, shown):
    assert drawable_names(classes) == shown
    assert len(set(drawable_names(classes))) == len(classes)


def test_every_letter_of_a_shown_name_is_in_the_font():
    classes = tuple(chr(code) for code in range(0x20, 0x600, 7))
    font = ImageFont.load_default(16)
    box = bytes(font.getmask("\uffff"))
    assert all(bytes(font.getmask(letter)) != box for name in drawable_names(classes) for letter in name)


def test_the_table_of_indices_is_logged_once(caplog):
    for _ in range(2):
        drawable_names(("road", "\u6c7d\u8f66", "\u0643\u0644\u0628"))
    (record,) = caplog.records
    assert record.getMessage().endswith("1 = \u6c7d\u8f66, 2 = \u0643\u0644\u0628")
    drawable_names(("road", "car"))
    assert len(caplog.records) == 1


def test_a_legend_tells_classes_of_any_script_apart(caplog):
    colours = ((10, 20, 30), (200, 0, 0))
    image, mask = np.zeros((40, 120, 3), np.uint8), np.zeros((40, 120), np.uint8)
    mask[:, 60:] = 1
    figures = [
        overlay(image, mask, DatasetInfo(names, colours))
        for names in (
            ("\u6c7d\u8f66", "\u5929\u7a7a"),
            ("\u5929\u7a7a", "\u6c7d\u8f66"),
            ("0", "1"),
            ("1", "0"),
        )
    ]
    assert np.array_equal(figures[0], figures[2]) and not np.array_equal(figures[0], figures[3])
    assert "0 = \u6c7d\u8f66, 1 = \u5929\u7a7a" in caplog.text
