from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.dataloaders.trees import picture
from utils.errors import DataError
from utils.images import decode
from utils.images.masks import count_mask_values, read_colour_mask, read_mask


@pytest.mark.parametrize("kornia", [True, False])
def test_masks_are_read_as_raw_indices(tmp_path, monkeypatch, kornia):
    """D16."""
    if kornia:
        pytest.importorskip("kornia_rs")
    else:
        monkeypatch.setattr(decode, "_kornia_decoder", lambda: None)
    mask = np.array([[0, 1, 2, 15, 20, 255]], np.uint8)
    grey = Image.fromarray(mask)
    palette = Image.fromarray(mask)
    palette.putpalette(bytes((7 * i) % 256 for i in range(768)))
    grey.save(tmp_path / "l.png")
    palette.save(tmp_path / "p.png")
    palette.save(tmp_path / "t.png", transparency=bytes([0, 255, 3]))
    palette.save(tmp_path / "p.gif")
    grey.save(tmp_path / "l.tif")
    np.save(tmp_path / "n.npy", mask)
    for name in ("l.png", "p.png", "t.png", "l.tif", "n.npy"):
        assert np.array_equal(read_mask(tmp_path / name), mask), name
    values = [0, 1, 2, 7, 30000, 65535]
    Image.fromarray(np.array([values], np.uint16)).save(tmp_path / "wide.png")
    assert read_mask(tmp_path / "wide.png").tolist() == [values]


def grey_png(depth, values):
    """A one-row grey PNG of 1, 2 or 4 bits, which Pillow cannot write itself."""
    bits = "".join(format(value, f"0{depth}b") for value in values)
    bits += "0" * (-len(bits) % 8)
    row = b"\0" + bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", len(values), 1, depth, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(row))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_masks_of_few_bits_are_not_stretched(tmp_path, depth):
    values = list(range(2**depth))
    (tmp_path / "m.png").write_bytes(grey_png(depth, values))
    assert read_mask(tmp_path / "m.png").tolist() == [values]


def test_one_bit_gif_masks_give_zero_and_one(tmp_path):
    Image.fromarray((np.eye(8) * 255).astype(np.uint8)).convert("1").save(tmp_path / "m.tif")
    assert np.array_equal(read_mask(tmp_path / "m.tif"), np.eye(8, dtype=np.uint8))


def test_colour_and_jpeg_masks_are_refused_with_the_way_out(tmp_path):
    Image.fromarray(picture((40, 50), 0)).save(tmp_path / "rgb.png")
    with pytest.raises(DataError, match="colour image.*colors") as caught:
        read_mask(tmp_path / "rgb.png")
    assert caught.value.kind == "colour_mask" and caught.value.paths == (tmp_path / "rgb.png",)
    Image.fromarray(picture((40, 50), 0)[..., 0]).save(tmp_path / "grey.jpg")
    for read in (read_mask, read_colour_mask, count_mask_values):
        with pytest.raises(DataError, match="grey.jpg: a JPEG mask") as caught:
            read(tmp_path / "grey.jpg")
        assert caught.value.kind == "jpeg_mask"
    np.save(tmp_path / "f.npy", np.zeros((3, 3)))
    with pytest.raises(DataError, match="float64") as caught:
        read_mask(tmp_path / "f.npy")
    assert caught.value.kind == "unsuitable"


@pytest.mark.parametrize(
    ("content", "kind"), [(None, "missing"), (b"", "unreadable"), (b"text", "unreadable")]
)
def test_a_file_that_is_not_a_mask_is_an_error_with_its_kind(tmp_path, content, kind):
    if content is not None:
        (tmp_path / "m.png").write_bytes(content)
    for read in (read_mask, read_colour_mask, count_mask_values):
        with pytest.raises(DataError, match="m.png") as caught:
            read(tmp_path / "m.png")
        assert caught.value.kind == kind


def test_a_large_mask_is_refused_before_it_is_decoded(tmp_path):
    Image.fromarray(np.zeros((40, 50), np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(DataError, match="2,000 pixels") as caught:
        read_mask(tmp_path / "m.png", max_pixels=1999)
    assert caught.value.kind == "too_large"


def test_the_colours_of_a_palette_are_those_of_the_mask(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8))
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 128, 0])
    image.save(tmp_path / "m.png")
    assert read_colour_mask(tmp_path / "m.png")[0].tolist() == [[0, 0, 0], [255, 0, 0]]


def test_values_are_counted_and_colours_where_there_are_some(tmp_path):
    Image.fromarray(np.array([[0, 7], [7, 7]], np.uint8)).save(tmp_path / "grey.png")
    assert count_mask_values(tmp_path / "grey.png") == {0: 1, 7: 3}
    colours = np.array([[[0, 0, 0], [255, 0, 7]], [[255, 0, 7], [1, 2, 3]]], np.uint8)
    Image.fromarray(colours).save(tmp_path / "rgb.png")
    assert count_mask_values(tmp_path / "rgb.png") == {(0, 0, 0): 1, (1, 2, 3): 1, (255, 0, 7): 2}
