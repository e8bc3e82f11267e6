"""Numbers on command lines that would crash, hang or be ignored are refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import inference
import init_config
import png2rle
from tests.checkpoints import make_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ranges")
    make_checkpoint(folder / "m.pth")
    Image.fromarray(np.zeros((20, 24, 3), np.uint8)).save(folder / "a.png")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "mask.png")
    np.save(folder / "b.npy", np.zeros((100, 100, 3), np.uint8))
    return folder


def lines(capsys) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "option",
    [
        "--scales nan", "--scales inf", "--scales 1e9", "--scales 1e-9", "--max-pixels 0", "--max-pixels -1",
        "--window-margin 999 --window 16 --mode sliding", "--window-margin -1", "--window 1000000000",
        "--window-overlap nan", "--window-batch 0", "--max-whole-pixels 0", "--rle-class -1", "--weights nan",
    ],
)  # fmt: skip
def test_an_option_of_inference_out_of_range_is_one_line(folder, option, capsys, tmp_path):
    argv = ["-m", str(folder / "m.pth"), "-i", str(folder / "a.png"), "-o", str(tmp_path), "-d", "cpu"]
    assert inference.main([*argv, *option.split()]) in (1, 2)
    assert len(lines(capsys)) == 1
    assert not list(tmp_path.glob("*.png"))


def test_the_limit_of_pixels_holds_for_npy(folder, capsys, tmp_path):
    argv = ["-m", str(folder / "m.pth"), "-i", str(folder / "b.npy"), "-o", str(tmp_path), "-d", "cpu"]
    assert inference.main([*argv, "--max-pixels", "5000"]) == 1
    assert "10,000 pixels" in capsys.readouterr().err


@pytest.mark.parametrize("code", ["9223372036854775807 9223372036854775807", "1 9223372036854775807",
                                  "9223372036854775808 1", "-9223372036854775808 1"])  # fmt: skip
@pytest.mark.parametrize("preset", ["carvana", "coco"])
def test_numbers_of_a_table_that_wrap_around_are_refused(folder, code, preset, capsys, tmp_path):
    header = {"carvana": "img,rle_mask", "coco": "image,counts"}[preset]
    name = "mask.jpg" if preset == "carvana" else "mask"
    (tmp_path / "t.csv").write_text(f"{header}\n{name},{code}\n")
    argv = ["--masks", str(folder / "mask.png"), "-o", str(tmp_path / "out"), "--preset", preset]
    assert png2rle.main([*argv, "--decode", str(tmp_path / "t.csv")]) == 2
    assert len(lines(capsys)) == 1


@pytest.mark.parametrize("separator", ["\0", "\n", "\r", '"', "", "ab"])
def test_a_separator_that_breaks_the_table_is_refused(folder, separator, capsys, tmp_path):
    argv = ["--masks", str(folder / "mask.png"), "-o", str(tmp_path / "t.csv"), "--separator", separator]
    assert png2rle.main(argv) == 2
    assert len(lines(capsys)) == 1


def test_a_config_of_no_epochs_is_not_written(folder, capsys, tmp_path):
    assert init_config.main([str(folder), "-o", str(tmp_path / "c.json"), "--epochs", "-3"]) == 2
    assert len(lines(capsys)) == 1 and not (tmp_path / "c.json").exists()
