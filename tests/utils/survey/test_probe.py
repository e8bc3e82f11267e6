from __future__ import annotations

import numpy as np
import pytest

from tests.dataloaders.trees import blocks, picture, save
from utils.errors import DataError
from utils.survey.probe import probe


def test_sizes_channels_and_values_are_read(tmp_path):
    for number, size in enumerate([(32, 40), (40, 32), (32, 40)]):
        save(tmp_path / "i" / f"{number}.png", picture(size, number)[..., 0])
        save(tmp_path / "m" / f"{number}.png", np.full(size, 0 if number else 9, np.uint8))
    found = probe(tmp_path)
    assert found.sizes == [(32, 40), (40, 32), (32, 40)] and found.channels == 1
    assert found.counts == {0: 2 * 32 * 40, 9: 32 * 40} and not found.colour_masks


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_channels_of_arrays_are_counted(tmp_path, channels):
    for folder in ("i", "m"):
        (tmp_path / folder).mkdir()
    for number in range(2):
        image = np.zeros((32, 40, channels), np.uint8)
        np.save(tmp_path / "i" / f"{number}.npy", image[..., 0] if channels == 1 else image)
        np.save(tmp_path / "m" / f"{number}.npy", blocks((32, 40), [0, 1], number))
    assert probe(tmp_path).channels == channels


@pytest.mark.parametrize(("fourth", "channels"), [("infrared", 4), ("opaque", 3), ("cut out", 3)])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_fourth_channel_is_transparency_only_where_it_is_0_or_255(tmp_path, fourth, channels, suffix):
    for number in range(3):
        band = {
            "infrared": picture((32, 40), 9 + number)[..., 0],
            "opaque": np.full((32, 40), 255, np.uint8),
            "cut out": blocks((32, 40), [0, 255], number),
        }[fourth]
        save(tmp_path / "i" / f"{number}.{suffix}", np.dstack([picture((32, 40), number), band]))
        save(tmp_path / "m" / f"{number}.png", blocks((32, 40), [0, 1], number))
    assert probe(tmp_path).channels == channels


def test_an_unreadable_mask_is_noted_and_the_others_are_counted(tmp_path):
    for number in range(12):
        save(tmp_path / "i" / f"{number:02d}.png", picture((32, 40), number))
        save(tmp_path / "m" / f"{number:02d}.png", blocks((32, 40), [0, 1], number))
    (tmp_path / "m" / "03.png").write_bytes(b"")  # none of the five files that are tried first
    found = probe(tmp_path)
    assert len(found.unreadable) == 1 and "03.png: the file is empty" in found.unreadable[0]
    assert sum(found.counts.values()) == 11 * 32 * 40


def test_masks_of_two_kinds_are_an_error_that_names_one_of_each(tmp_path):
    for number in range(4):
        save(tmp_path / "i" / f"{number}.png", picture((32, 40), number))
        mask = blocks((32, 40), [0, 255], number)
        save(tmp_path / "m" / f"{number}.png", np.stack([mask] * 3, axis=2) if number > 1 else mask)
    with pytest.raises(DataError, match=r"2\.png holds colours, .*0\.png class indices") as caught:
        probe(tmp_path)
    assert caught.value.kind == "unsuitable"


@pytest.mark.parametrize("odd", ["colours", "class indices"])
def test_one_odd_mask_among_few_is_named_first(tmp_path, odd):
    """Rank 12."""
    for number in range(6):
        save(tmp_path / "i" / f"{number}.png", picture((32, 40), number))
        mask = blocks((32, 40), [0, 255], number)
        coloured = (number == 4) == (odd == "colours")
        save(tmp_path / "m" / f"{number}.png", np.stack([mask] * 3, axis=2) if coloured else mask)
    with pytest.raises(DataError, match=rf"^\S+m/4\.png holds {odd}, .*\(1 of 6 hold {odd}: \S+m/4\.png\)$"):
        probe(tmp_path)


@pytest.mark.parametrize(("shape", "thickness"), [("disc", 0.5), ("lines", 0.03), ("nothing", 0.0)])
def test_the_thickness_is_that_of_the_largest_circle_in_an_object(tmp_path, shape, thickness):
    for number in range(4):
        save(tmp_path / "images" / f"{number}.jpg", picture((200, 300), number))
        mask = np.zeros((200, 300), np.uint8)
        if shape == "disc":
            y, x = np.ogrid[:200, :300]
            mask[(y - 100) ** 2 + (x - 140) ** 2 <= 50**2] = 255
        elif shape == "lines":
            mask[::20] = mask[1::20] = mask[2::20] = mask[3::20] = mask[4::20] = mask[5::20] = 255
        save(tmp_path / "masks" / f"{number}.png", mask)
    assert probe(tmp_path).thickness == pytest.approx(thickness, abs=0.02)
