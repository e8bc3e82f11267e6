"""The picture of a range test."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from utils.errors import StorageError
from utils.report.range_test import draw_range_test, picture_path
from utils.training.find_lr import RangeTest

RED = (0xD6, 0x27, 0x28)


def colours(path) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in np.asarray(Image.open(path)).reshape(-1, 3).tolist()}


def test_losses_and_the_suggestion_are_drawn(tmp_path):
    rates = np.geomspace(1e-5, 1, 50)
    result = RangeTest(list(rates), list(2 - 1 / (1 + 1e-3 / rates) + 100 * (rates > 0.5)))
    assert result.suggestion == pytest.approx(1e-3, rel=0.3)  # the steepest point of this curve
    draw_range_test(result, tmp_path / "lr.png")
    assert {RED, (0x1F, 0x77, 0xB4)} <= colours(tmp_path / "lr.png")
    draw_range_test(RangeTest([0.1], [1.0]), tmp_path / "one.png")
    assert RED not in colours(tmp_path / "one.png")
    with pytest.raises(StorageError, match="cannot be written"):
        draw_range_test(result, tmp_path)


def test_the_picture_goes_into_a_file_a_folder_or_the_current_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(picture_path(None)) == "find_lr.png"
    assert picture_path(str(tmp_path)) == tmp_path / "find_lr.png"
    assert picture_path("mine.png").name == "mine.png"
    with pytest.raises(StorageError, match=r"--output no/lr\.png: there is no folder no"):
        picture_path("no/lr.png")
