"""What a fourth channel holds, and what an examination says that it was taken for."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

import check_data
from tests.dataloaders.trees import blocks, picture, save
from utils.survey.fourth_channel import read_fourth_channel

SIZE = (32, 40)
BANDS = {
    "infrared": lambda n: picture(SIZE, 9 + n)[..., 0],
    "opaque": lambda n: np.full(SIZE, 255, np.uint8),
    "cut out": lambda n: blocks(SIZE, [0, 255], n),
}


def write(root, band, suffix="png"):
    for number in range(4):
        array = np.dstack([picture(SIZE, 5 * number), BANDS[band](number)])
        path = root / "images" / f"{number}.{suffix}"
        path.parent.mkdir(exist_ok=True)
        if suffix == "npy":
            np.save(path, array)
        else:
            save(path, array)
        save(root / "masks" / f"{number}.png", blocks(SIZE, [0, 1], number))


def check(root, capsys, channels):
    args = {
        "data_dir": str(root),
        "classes": ["a", "b"],
        "batch_size": 1,
        "split": "all",
        "channels": channels,
    }
    (root / "c.json").write_text(json.dumps({"train_loader": {"type": "Folder", "args": args}}))
    assert check_data.main(["-c", str(root / "c.json")]) == 0
    return [line.strip() for line in capsys.readouterr().out.splitlines() if "fourth channel" in line]


@pytest.mark.parametrize(("band", "channels", "warned", "words"), [
    ("infrared", 3, True, "over the mean colour; it looks like a band such as infrared: set channels to 4"),
    ("infrared", 4, False, "of them 0 or 255: read as a band of its own"),
    ("cut out", 3, False, "values 0..255, 100% of them 0 or 255: taken for transparency over the mean colour"),
    ("cut out", 4, True, "read as a band of its own; it looks like transparency: set channels to 3"),
    ("opaque", 3, False, "values 255..255, 100% of them 0 or 255: taken for transparency"),
])  # fmt: skip
@pytest.mark.parametrize("suffix", ["png", "npy"])
def test_an_examination_says_what_it_holds_and_what_was_assumed(
    tmp_path, capsys, band, channels, warned, words, suffix
):
    write(tmp_path, band, suffix)
    (line,) = check(tmp_path, capsys, channels)
    assert "fourth channel in 4 images: values " in line and words in line
    assert line.startswith("WARNING: ") == warned


def test_images_of_three_channels_have_no_such_line(tmp_path, capsys):
    write(tmp_path, "opaque")
    for path in (tmp_path / "images").iterdir():
        save(path, picture(SIZE, 3))
    assert check(tmp_path, capsys, 3) == []


def test_a_band_of_16_bits_is_read_and_other_files_have_none(tmp_path):
    array = np.full((8, 8, 4), 40000, np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), array)
    found = read_fourth_channel(tmp_path / "a.png")
    assert (found.lowest, found.highest) == (156, 156) and found.composited and not found.is_transparency
    cv2.imwrite(str(tmp_path / "grey.png"), array[..., 0])
    np.save(tmp_path / "b.npy", array[..., :2])
    assert read_fourth_channel(tmp_path / "grey.png") is read_fourth_channel(tmp_path / "b.npy") is None


def test_a_tiff_band_of_no_stated_use_is_dropped_with_three_channels(tmp_path, capsys):
    from tests.utils.images.test_tiff import tiff
    from utils.images.read import read_image

    write(tmp_path, "infrared")
    for path in list((tmp_path / "images").iterdir()):
        array = read_image(path, channels=4)
        path.unlink()
        tiff(path.with_suffix(".tif"), array, extra=[0])
    (line,) = check(tmp_path, capsys, 3)
    assert "0 or 255: dropped; it looks like a band such as infrared: set channels to 4" in line
