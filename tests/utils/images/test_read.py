from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from utils.errors import DataError
from utils.images.masks import read_mask
from utils.images.read import read_image, scale_to_uint8

BACK = (124, 116, 104)


def smooth(height=40, width=50):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 4, y * 4, x + y], axis=2).astype(np.uint8)


def test_plain_files_come_back_as_they_are(tmp_path):
    image = smooth()
    for name in ("a.png", "a.bmp", "a.tif", "a.ppm"):
        Image.fromarray(image).save(tmp_path / name)
        assert np.array_equal(read_image(tmp_path / name), image), name
    np.save(tmp_path / "a.npy", image)
    assert np.array_equal(read_image(tmp_path / "a.npy"), image)
    Image.fromarray(image).save(tmp_path / "a.jpg", quality=95)
    expected = np.asarray(Image.open(tmp_path / "a.jpg"))
    assert np.array_equal(read_image(tmp_path / "a.jpg"), expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_mode_gives_three_channels(tmp_path, mode):
    """D12, R12."""
    grey = Image.fromarray(smooth()[..., 0])
    source = {
        "I;16": lambda: Image.fromarray(smooth()[..., 0].astype(np.uint16) * 257),
        "CMYK": lambda: Image.fromarray(smooth()).convert("CMYK"),
        "RGBA": lambda: Image.fromarray(smooth()).convert("RGBA"),
        "P": lambda: Image.fromarray(smooth()).convert("P"),
    }.get(mode, lambda: grey.convert(mode))()
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    source.save(path)
    image = read_image(path, background=BACK)
    assert image.shape == (40, 50, 3) and image.dtype == np.uint8
    if mode in ("L", "LA", "I;16"):
        assert np.array_equal(image, np.repeat(smooth()[..., :1], 3, axis=2))
    if mode == "1":
        assert set(np.unique(image)) == {0, 255}
    assert read_image(path, channels=1, background=BACK).shape == (40, 50, 1)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    """D13."""
    values = np.array([[0, 255, 256, 1000, 32768, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    expected = [0, 1, 1, 4, 128, 255]
    assert read_image(tmp_path / "a.png", channels=1)[0, :, 0].tolist() == expected
    colour = np.stack([values, values[:, ::-1], values], axis=2)
    for name in ("b.png", "b.tif"):
        cv2.imwrite(str(tmp_path / name), colour[..., ::-1])
        result = read_image(tmp_path / name)
        assert result[0, :, 0].tolist() == expected and result[0, :, 1].tolist() == expected[::-1], name


def test_hidden_colour_under_transparency_does_not_show(tmp_path):
    """D12: alpha 0 shows the background, alpha 128 half of it."""
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[..., 0] = 255
    rgba[0, :, 3] = (0, 128, 255)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png", background=BACK)
    assert image[0, 0].tolist() == list(BACK)
    assert image[0, 2].tolist() == [255, 0, 0]
    assert image[0, 1].tolist() == [190, 58, 52]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8))
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.save(tmp_path / "p.png", transparency=0)
    assert read_image(tmp_path / "p.png", background=BACK)[0].tolist() == [list(BACK), [0, 255, 0]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_photos_only_when_asked(tmp_path, orientation):
    """D14."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(smooth(20, 40)).save(tmp_path / "a.jpg", exif=exif, quality=95)
    assert read_image(tmp_path / "a.jpg").shape == (20, 40, 3)
    turned = read_image(tmp_path / "a.jpg", exif_transpose=True)
    assert turned.shape == ((40, 20, 3) if orientation >= 5 else (20, 40, 3))
    Image.fromarray(smooth(20, 40)).save(tmp_path / "a.png", exif=exif)
    assert read_image(tmp_path / "a.png").shape == (20, 40, 3)
    assert read_image(tmp_path / "a.png", exif_transpose=True).shape == turned.shape


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".tif"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_an_error_with_its_name(tmp_path, suffix, share):
    """D15: cv2 returns a full image for every truncated JPEG."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / f"a{suffix}")
    data = (tmp_path / f"a{suffix}").read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=f"cut{suffix}") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["image", "mask", "palette"])
def test_flipped_bits_of_a_png_are_an_error(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    array, read = (noise, read_image) if kind == "image" else (noise[..., 0], read_mask)
    image = Image.fromarray(array)
    if kind == "palette":
        image.putpalette(bytes(range(256)) * 3)
    image.save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    start = data.find(b"IDAT") + 8
    for offset in range(start, len(data) - 30, 97):
        broken = bytearray(data)
        broken[offset] ^= 0x10
        (tmp_path / "b.png").write_bytes(broken)
        with pytest.raises(DataError, match="b.png"):
            read(tmp_path / "b.png")


def test_missing_empty_and_foreign_files(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    for name, words in {
        "none.jpg": "no such file", "empty.jpg": "empty", "text.jpg": "known format", "folder.png": "folder",
    }.items():  # fmt: skip
        for read in (read_image, read_mask):
            with pytest.raises(DataError, match=words):
                read(tmp_path / name)


def bomb(side):
    """A valid PNG of side x side pixels in a few kilobytes."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x" * 9) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_before_decoding(tmp_path):
    """D18."""
    (tmp_path / "bomb.png").write_bytes(bomb(20000))
    with pytest.raises(DataError, match=r"bomb\.png.*400,000,000 pixels"):
        read_image(tmp_path / "bomb.png")
    Image.fromarray(smooth()).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="2,000 pixels"):
        read_image(tmp_path / "a.png", max_pixels=1999)
    assert read_image(tmp_path / "a.png", max_pixels=10**9).shape == (40, 50, 3)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_jpeg_can_be_decoded_at_a_part_of_its_size(tmp_path, factor):
    image = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (101, 67, 3)).astype(np.uint8), (0, 0), 9
    )
    Image.fromarray(image).save(tmp_path / "a.jpg", quality=98)
    small = read_image(tmp_path / "a.jpg", reduce=factor)
    assert small.shape == (-(-101 // factor), -(-67 // factor), 3)
    block = image[: 8 * factor, : 8 * factor].reshape(8, factor, 8, factor, 3).mean(axis=(1, 3))
    assert np.abs(small[:8, :8] - block).max() < 6
    Image.fromarray(image).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", reduce=factor).shape == image.shape


def test_npy_never_runs_a_pickle(tmp_path):
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="evil.npy"):
        read_image(tmp_path / "evil.npy")


def test_channels_must_fit(tmp_path):
    np.save(tmp_path / "seven.npy", np.zeros((4, 5, 7), np.uint16))
    assert read_image(tmp_path / "seven.npy", channels=7).shape == (4, 5, 7)
    with pytest.raises(DataError, match="has 7 channels; 3 are expected") as caught:
        read_image(tmp_path / "seven.npy")
    assert caught.value.kind == "unsuitable" and caught.value.paths == (tmp_path / "seven.npy",)
    with pytest.raises(DataError, match="range is unknown") as caught:
        scale_to_uint8(np.zeros((2, 2), np.float32))
    assert caught.value.kind == "unsuitable"
