"""The VOC colour map against the devkit's own table."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from utils.dataset_info import DatasetInfo, colour_table, voc_palette


def test_voc_palette_is_the_devkit_one():
    table = np.array(voc_palette(256), dtype=np.uint8)
    digest = hashlib.sha256(table.tobytes()).hexdigest()
    assert digest == "ec76f86cfddd0f4c0768796cda862d8f5099af416b298a406db7e84b55136fc9"
    assert voc_palette(21)[15] == (192, 128, 128) and voc_palette(256)[255] == (224, 224, 192)


def test_too_many_colours_are_refused():
    with pytest.raises(ValueError, match="257"):
        voc_palette(257)


def test_colour_table_takes_the_data_set_and_marks_void():
    info = DatasetInfo(("a", "b"), ((1, 2, 3), (4, 5, 6)))
    table = colour_table(info)
    assert table[:2].tolist() == [[1, 2, 3], [4, 5, 6]] and table[255].tolist() == [224, 224, 192]
    assert table.shape == (256, 3) and info.palette == ((1, 2, 3), (4, 5, 6))
