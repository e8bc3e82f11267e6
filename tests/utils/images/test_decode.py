from __future__ import annotations

import io
import os
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from tests.dataloaders.trees import picture
from utils.errors import DataError
from utils.images import decode
from utils.images.decode import read_bytes
from utils.images.header import MAX_PIXELS, image_size


def encoded(array, form="PNG", **options):
    buffer = io.BytesIO()
    PIL.Image.fromarray(array).save(buffer, form, **options)
    return buffer.getvalue()


RGB_IMAGE = picture((30, 41), 2)
GREY_IMAGE = RGB_IMAGE[..., 0].copy()


@pytest.fixture(params=["kornia", "others"])
def decoder(request, monkeypatch):
    """Both ways to decode a plain PNG."""
    if request.param == "kornia":
        pytest.importorskip("kornia_rs")
    else:
        monkeypatch.setattr(decode, "_kornia_decoder", lambda: None)


def test_plain_pngs_are_decoded_exactly(decoder):
    assert np.array_equal(decode.decode_rgb_png(encoded(RGB_IMAGE), (30, 41)), RGB_IMAGE)
    assert np.array_equal(decode.decode_grey_png(encoded(GREY_IMAGE), (30, 41)), GREY_IMAGE)


def test_a_damaged_png_is_an_error_of_kind_unreadable(decoder):
    broken = bytearray(encoded(np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)))
    broken[60] ^= 0x10
    with pytest.raises(DataError, match="is truncated or damaged") as caught:
        decode.decode_grey_png(bytes(broken), (32, 32))
    assert caught.value.kind == "unreadable" and caught.value.paths == ()


def test_a_jpeg_is_decoded_in_rgb_and_without_its_rotation():
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    data = encoded(RGB_IMAGE, "JPEG", quality=98, exif=exif)
    array = decode.decode_by_cv2(data, cv2.IMREAD_COLOR)
    assert array.shape == RGB_IMAGE.shape and np.abs(array.astype(int) - RGB_IMAGE).mean() < 2


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_and_the_order_of_colours_are_kept(channels):
    image = np.random.default_rng(1).integers(0, 65536, (5, 7, channels), dtype=np.uint16)
    stored = image[..., [2, 1, 0, 3][:channels]] if channels > 1 else image
    data = cv2.imencode(".png", stored)[1].tobytes()
    assert np.array_equal(decode.decode_unchanged(data), image)


def test_arrays_have_a_channel_axis_and_no_more_than_three():
    def stored(array):
        buffer = io.BytesIO()
        np.save(buffer, array)
        return buffer.getvalue()

    assert decode.load_npy(stored(GREY_IMAGE)).shape == (30, 41, 1)
    assert np.array_equal(decode.load_npy(stored(RGB_IMAGE)), RGB_IMAGE)
    with pytest.raises(DataError, match="has 4 dimensions") as caught:
        decode.load_npy(stored(np.zeros((1, 2, 3, 4))))
    assert caught.value.kind == "unsuitable"


def test_the_pixel_limit_of_pillow_is_raised_only_while_a_file_is_opened():
    before = PIL.Image.MAX_IMAGE_PIXELS
    assert decode.open_image(encoded(RGB_IMAGE), 10 * MAX_PIXELS).size == (41, 30)
    assert before == PIL.Image.MAX_IMAGE_PIXELS
    with pytest.raises(DataError, match="1,230 pixels") as caught:
        decode.open_image(encoded(RGB_IMAGE), 1229)
    assert caught.value.kind == "too_large"


def test_an_image_beyond_the_limit_of_pillow_is_too_large_in_words_of_our_own(tmp_path):
    header = b"P5 40000 20000 255\n"
    (tmp_path / "a.pgm").write_bytes(header)
    for limit in (MAX_PIXELS, 2 * MAX_PIXELS):
        with pytest.raises(DataError, match="the [0-9,]+ pixels that are read: make it smaller") as caught:
            decode.open_image(header, limit)
        assert caught.value.kind == "too_large"
    with pytest.raises(
        DataError, match=r"a\.pgm: has more than 178,956,970 pixels: make it smaller"
    ) as caught:
        image_size(tmp_path / "a.pgm")
    assert caught.value.kind == "too_large"


@pytest.mark.parametrize(("raised", "kind", "message"), [
    (DataError("has 4 channels", kind="unsuitable"), "unsuitable", "a.png: has 4 channels"),
    (SyntaxError("broken PNG file\nsecond line"), "unreadable", "a.png: cannot be decoded: broken PNG file"),
    (PIL.UnidentifiedImageError("<_io.BytesIO object at 0x7>"), "unreadable",
     "a.png: cannot be decoded: not an image of a known format"),
])  # fmt: skip
def test_every_error_of_a_decoder_names_the_file_once(tmp_path, raised, kind, message):
    path = tmp_path / "a.png"
    with pytest.raises(DataError) as caught, decode.naming_file(path):
        raise raised
    assert str(caught.value) == f"{tmp_path}/{message}" and caught.value.kind == kind
    assert caught.value.paths == (path,) and caught.value.__cause__ is raised


def test_a_pipe_or_a_device_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    for path in (tmp_path / "a.png", Path("/dev/zero")):
        with pytest.raises(DataError, match="is not a regular file"):
            read_bytes(path)
