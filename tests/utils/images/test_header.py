from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.dataloaders.trees import picture
from utils.errors import DataError
from utils.images.header import (
    RGB,
    exif_orientation,
    image_size,
    is_jpeg,
    palette_as_grey,
    png_header,
    refuse_large,
)


def png(array, **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", **options)
    return buffer.getvalue()


def test_sizes_come_from_the_header(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(picture((40, 50), 0)).save(buffer, "JPEG")
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue()[:-200])  # no pixels needed
    assert image_size(tmp_path / "a.jpg") == (40, 50)
    np.save(tmp_path / "a.npy", np.zeros((4, 5, 7), np.uint16))
    assert image_size(tmp_path / "a.npy") == (4, 5)


@pytest.mark.parametrize(("name", "content", "kind"), [
    ("none.png", None, "missing"), ("text.png", b"not an image", "unreadable"), ("bad.npy", b"x", "unreadable"),
])  # fmt: skip
def test_a_file_without_a_size_is_an_error_of_one_line(tmp_path, name, content, kind):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name) as caught:
        image_size(tmp_path / name)
    assert caught.value.kind == kind and caught.value.paths == (tmp_path / name,)
    assert "\n" not in str(caught.value) and "BytesIO" not in str(caught.value)


def test_the_orientation_is_1_where_a_file_has_none(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture((4, 6), 0)).save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(picture((4, 6), 0)).save(tmp_path / "plain.png")
    assert exif_orientation(tmp_path / "turned.jpg") == 6 and exif_orientation(tmp_path / "plain.png") == 1


def test_jpegs_are_known_by_their_name():
    assert is_jpeg("a.JPG") and is_jpeg("a.jpeg") and not is_jpeg("jpg.png")


def test_a_png_header_holds_size_depth_and_colours():
    header = png_header(png(picture((3, 5), 0)))
    assert (header.size, header.pixels, header.depth, header.colour_type) == ((3, 5), 15, 8, RGB)
    assert header.plain
    assert png_header(png(np.zeros((2, 7), np.uint16))).depth == 16
    assert png_header(b"\xff\xd8 a JPEG" * 9) is None


def test_transparency_and_orientation_make_a_png_less_plain():
    exif = Image.Exif()
    exif[0x0112] = 3
    assert not png_header(png(picture((3, 5), 0), exif=exif)).plain
    assert not png_header(png(np.zeros((3, 5), np.uint8), transparency=0)).plain


def test_a_png_without_its_end_is_refused():
    with pytest.raises(DataError, match="is truncated") as caught:
        png_header(png(picture((3, 5), 0))[:-12])
    assert caught.value.kind == "unreadable"


def test_a_palette_png_becomes_a_grey_one_of_the_same_indices():
    indices = np.arange(12, dtype=np.uint8).reshape(3, 4)
    buffer = io.BytesIO()
    image = Image.fromarray(indices)
    image.putpalette(bytes(range(200)) * 3)
    image.save(buffer, "PNG", bits=8)
    grey = Image.open(io.BytesIO(palette_as_grey(buffer.getvalue())))
    assert grey.mode == "L" and np.array_equal(np.asarray(grey), indices)


def test_too_many_pixels_are_refused():
    refuse_large(100, 100)
    with pytest.raises(DataError, match="has 1,001 pixels; more than 1,000 are refused") as caught:
        refuse_large(1001, 1000)
    assert caught.value.kind == "too_large"
