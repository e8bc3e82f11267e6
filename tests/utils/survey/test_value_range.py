"""12-bit images in 16-bit files keep their levels; an examination says where they do not."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

import check_data
import init_config
from tests.dataloaders.trees import blocks, picture, save
from utils.survey.value_range import fitting_range, measure_range


def write(root, scale, offset=0, suffix="tif", count=6):
    """Write grey 16-bit images of ``scale`` times 0..255 plus ``offset``, with masks."""
    (root / "images").mkdir()
    for number in range(count):
        values = picture((32, 40), 5 * number)[..., 0].astype(np.uint16) * scale + offset
        path = root / "images" / f"{number}.{suffix}"
        if suffix == "npy":
            np.save(path, values)
        else:
            cv2.imwrite(str(path), values)
        save(root / "masks" / f"{number}.png", blocks((32, 40), [0, 1], number))


@pytest.mark.parametrize(("measured", "proposed"), [
    ((0, 4080), (0, 4095)), ((3, 1023), (0, 1023)), ((0, 200), (0, 255)), ((0, 65535), None), ((10, 40000), None),
    ((31744, 36000), (31744, 36000)), ((7, 7), (0, 255)),
])  # fmt: skip
def test_the_range_is_that_of_the_bits_used_or_the_measured_one(measured, proposed):
    assert fitting_range(*measured) == proposed


@pytest.mark.parametrize("suffix", ["tif", "png", "npy", "pgm"])
def test_stored_values_are_measured_in_every_format_of_16_bits(tmp_path, suffix):
    write(tmp_path, 16, suffix=suffix, count=2)
    files = sorted((tmp_path / "images").iterdir())
    levels = np.stack([picture((32, 40), 5 * n)[..., 0] for n in range(2)]).astype(int) * 16
    assert measure_range(files, 1) == (levels.min(), levels.max())
    assert measure_range([tmp_path / "masks" / "0.png", tmp_path / "none.png"], 1) is None


def test_alpha_is_no_part_of_the_range(tmp_path):
    array = np.full((8, 8, 4), 65535, np.uint16)
    array[..., :3] = 900
    cv2.imwrite(str(tmp_path / "a.png"), array)
    assert measure_range([tmp_path / "a.png"], 3) == (900, 900)
    assert measure_range([tmp_path / "a.png"], 4) == (900, 65535)


@pytest.mark.parametrize(("scale", "offset", "expected"), [
    (16, 0, [0, 4095]), (4, 31744, None), (257, 0, False),
])  # fmt: skip
def test_a_proposal_states_the_range_and_an_examination_misses_it(tmp_path, capsys, scale, offset, expected):
    write(tmp_path, scale, offset)
    output = tmp_path / "c.json"
    assert init_config.main([str(tmp_path), "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    config = json.loads(output.read_text())
    given = config["train_loader"]["args"].get("value_range", False)
    if expected is None:
        low, high = given
        assert 31744 <= low < high <= 31744 + 4 * 255
    else:
        assert given == expected
    assert ("16-bit images hold values of" in printed) == bool(given)
    assert check_data.main(["-c", str(output)]) == 0
    assert "less than a quarter" not in capsys.readouterr().out
    for loader in ("train_loader", "val_loader"):
        config[loader]["args"].pop("value_range", None)
    output.write_text(json.dumps(config))
    assert check_data.main(["-c", str(output)]) == 0
    text = capsys.readouterr().out
    assert ("less than a quarter" in text and "set value_range to [" in text) == bool(given)


def test_dark_images_of_8_bits_are_named_without_a_range_to_set(tmp_path, capsys):
    for number in range(4):
        save(tmp_path / "images" / f"{number}.png", picture((32, 40), 5 * number) // 8)
        save(tmp_path / "masks" / f"{number}.png", blocks((32, 40), [0, 1], number))
    output = tmp_path / "c.json"
    assert init_config.main([str(tmp_path), "--output", str(output)]) == 0
    assert check_data.main(["-c", str(output)]) == 0
    text = capsys.readouterr().out
    assert "less than a quarter" in text and "value_range" not in text
