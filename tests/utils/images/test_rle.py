"""Run lengths: known codes, exact round trips, broken codes refused."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np
import pytest

from utils.errors import ConfigError, DataError
from utils.images.rle import PRESETS, RleFormat, RleTable, decode, encode, find_format, read_table

MASK = np.array([[0, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 1]], dtype=np.uint8)
TIANCHI, CARVANA, COCO = (PRESETS[name] for name in ("tianchi", "carvana", "coco"))


def test_known_codes():
    assert encode(MASK, TIANCHI) == "3 3 8 1 12 1"
    assert encode(MASK, CARVANA) == "2 1 6 2 9 1 12 1"
    assert encode(MASK, COCO) == "2 3 2 1 3 1"
    assert encode(np.zeros((2, 3), bool), TIANCHI) == "" and encode(np.ones((2, 3), bool), TIANCHI) == "1 6"
    assert encode(np.ones((2, 3), bool), COCO) == "0 6" and encode(np.zeros((2, 3), bool), COCO) == "6"


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_a_thousand_masks_come_back_exactly(preset):
    fmt, rng = PRESETS[preset], np.random.default_rng(0)
    for number in range(1000):
        size = (1, 1) if number < 10 else tuple(rng.integers(1, 12, 2))
        if 10 <= number < 30:
            size = (1, int(rng.integers(1, 40)))
        mask = (rng.random(size) < rng.choice([0, 0.1, 0.5, 0.9, 1])).astype(np.uint8)
        code = encode(mask, fmt)
        assert np.array_equal(decode(code, mask.shape, fmt), mask)
        if fmt.counts == "runs" and code:
            starts, lengths = np.array(code.split(), int).reshape(-1, 2).T
            assert (starts[1:] > starts[:-1] + lengths[:-1]).all() and starts[-1] + lengths[
                -1
            ] - 1 <= mask.size


@pytest.mark.parametrize(
    "mask", [np.full((2, 2), 2), np.full((2, 2), 255, np.uint8), np.array([0.5]), np.zeros(3)]
)
def test_masks_that_are_not_binary_are_refused(mask):
    with pytest.raises(ValueError, match="0 and 1"):
        encode(mask, CARVANA)


@pytest.mark.parametrize(
    "code",
    [
        "1",
        "1 2 3",
        "0 1",
        "-1 2",
        "1 0",
        "1 -1",
        "5 3 2 1",
        "1 2 3 1",
        "1 3 2 2",
        "12 2",
        "a b",
        "99999999999999999999 1",
    ],
)
def test_broken_codes_are_refused(code):
    with pytest.raises(DataError):
        decode(code, (3, 4), CARVANA)


@pytest.mark.parametrize("code", ["13", "5 0 7", "-1 13", "6 7"])
def test_broken_lengths_are_refused(code):
    with pytest.raises(DataError):
        decode(code, (3, 4), COCO)


@pytest.mark.parametrize("preset", PRESETS)
def test_tables_round_trip(tmp_path, preset):
    fmt = PRESETS[preset]
    table = RleTable(tmp_path / "t.csv", fmt, class_index=2)
    table.add(PurePath("b.x.png"), MASK * 2)
    table.add(PurePath("a.png"), MASK)
    table.save()
    read = read_table(tmp_path / "t.csv", fmt)
    ending = fmt.extension or ""
    assert list(read) == [f"b.x{ending}", f"a{ending}"]
    assert np.array_equal(decode(read[f"b.x{ending}"], (3, 4), fmt), MASK)
    assert not decode(read[f"a{ending}"], (3, 4), fmt).any()


def test_files_are_as_the_competitions_have_them(tmp_path):
    for preset, expected in (
        ("tianchi", "a.jpg\t3 3 8 1 12 1\nb.jpg\t\n"),
        ("carvana", "img,rle_mask\na.jpg,2 1 6 2 9 1 12 1\nb.jpg,\n"),
    ):
        table = RleTable(tmp_path / "t", PRESETS[preset])
        table.add(PurePath("b.png"), MASK * 0)
        table.add(PurePath("a.png"), MASK)
        table.sort(["a.jpg", "b.jpg"])
        table.save()
        assert (tmp_path / "t").read_text() == expected


def test_a_sample_file_with_other_names_is_refused(tmp_path):
    table = RleTable(tmp_path / "t", CARVANA)
    table.add(PurePath("a.png"), MASK)
    with pytest.raises(DataError, match=r"b\.jpg"):
        table.sort(["a.jpg", "b.jpg"])


def test_nan_is_an_empty_mask(tmp_path):
    (tmp_path / "t").write_text("a.jpg\tNaN\nb.jpg\n")
    assert read_table(tmp_path / "t", TIANCHI) == {"a.jpg": "", "b.jpg": ""}


def test_formats_by_flags():
    fmt = find_format("carvana", order="columns", base=0, empty="-1")
    assert encode(MASK, fmt) == "2 3 7 1 11 1" and encode(MASK * 0, fmt) == "-1"
    assert not decode("-1", (3, 4), fmt).any()
    with pytest.raises(ConfigError, match="tianchi"):
        find_format("kaggle")
    with pytest.raises(ConfigError, match="base"):
        find_format("carvana", base=7)
    with pytest.raises(ValueError):
        RleFormat(header=("one",))
