"""TIFF values come back exactly as they are stored, or are refused in one line."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from utils.errors import DataError
from utils.images.header import image_size
from utils.images.masks import read_mask
from utils.images.read import read_image


def tiff(path, array, photometric=2, extra=(), planar=1, order="<"):
    """Write (H, W, C) uint8 or uint16 without compression."""
    height, width, channels = array.shape
    bits = 8 * array.dtype.itemsize
    stored = array.astype(array.dtype.newbyteorder(order))
    planes = [stored] if planar == 1 else [np.ascontiguousarray(stored[..., c]) for c in range(channels)]
    blocks = [plane.tobytes() for plane in planes]
    starts = [8 + sum(map(len, blocks[:n])) for n in range(len(blocks))]
    tags = {256: [width], 257: [height], 258: [bits] * channels, 259: [1], 262: [photometric], 273: starts,
            277: [channels], 278: [height], 279: [len(b) for b in blocks], 284: [planar]}  # fmt: skip
    if extra:
        tags[338] = list(extra)
    at = 8 + sum(map(len, blocks))
    entries, tail, place = b"", b"", at + 2 + 12 * len(tags) + 4
    for tag, values in sorted(tags.items()):
        raw = struct.pack(f"{order}{len(values)}I", *values)
        if len(raw) > 4:
            raw, tail = struct.pack(f"{order}I", place + len(tail)), tail + raw
        entries += struct.pack(f"{order}HHI", tag, 4, len(values)) + raw
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", at)
    path.write_bytes(
        head + b"".join(blocks) + struct.pack(f"{order}H", len(tags)) + entries + b"\0\0\0\0" + tail
    )


@pytest.fixture
def four():
    return np.random.default_rng(0).integers(0, 256, (12, 16, 4)).astype(np.uint8)


@pytest.mark.parametrize("options", [
    {"extra": [0]}, {"extra": [1]}, {"extra": [2]}, {"planar": 2, "extra": [2]}, {"planar": 2, "extra": [1]},
    {"extra": [0], "order": ">"}, {"extra": [0], "planar": 2}, {"photometric": 5},
    {"photometric": 1, "extra": [0, 0, 0]}, {},
])  # fmt: skip
def test_four_bands_of_8_bits_are_exact_or_refused(tmp_path, four, options):
    tiff(tmp_path / "a.tif", four, **options)
    try:
        found = read_image(tmp_path / "a.tif", channels=4)
    except DataError as error:
        assert "a.tif" in str(error) and "\n" not in str(error)
        assert options not in ({"extra": [0]}, {"extra": [2]})
    else:
        assert np.array_equal(found, four)


@pytest.mark.parametrize("channels", [2, 4, 5, 6])
@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_any_number_of_bands_is_exact_or_refused(tmp_path, channels, planar, depth):
    array = np.random.default_rng(1).integers(0, 256, (12, 16, channels)).astype(depth)
    array *= 257 if depth == np.uint16 else 1  # what 8 bits become exactly
    extra = [0] * (channels - 3) if channels > 3 else [0]
    tiff(tmp_path / "a.tif", array, photometric=2 if channels > 3 else 1, extra=extra, planar=planar)
    try:
        found = read_image(tmp_path / "a.tif", channels=channels)
    except DataError as error:
        assert "a.tif" in str(error) and "\n" not in str(error)
    else:
        expected = array if depth == np.uint8 else array // 257
        assert np.array_equal(found, expected)


def test_colours_multiplied_by_alpha_are_named(tmp_path, four):
    tiff(tmp_path / "a.tif", four, extra=[1])
    with pytest.raises(DataError, match=r"a\.tif: stores colours multiplied by alpha"):
        read_image(tmp_path / "a.tif", channels=4)


@pytest.mark.parametrize(("channels", "photometric", "extra", "words"), [
    (2, 1, [0], "has 2 bands, of which only 1 are read; it needs 1, 3"),
    (2, 1, [], "has 2 bands of 8 bits in a layout that is not read"),
    (5, 2, [0, 0], "has 5 bands, of which only 3 are read; it needs 1, 3"),
    (6, 1, [0] * 5, r"has 6 bands of 8 bits in a layout that is not read; it needs .* NPY file of \(H, W, 6\)$"),
])  # fmt: skip
def test_a_refusal_names_the_number_of_bands_and_what_is_read(tmp_path, channels, photometric, extra, words):
    path = tmp_path / "a.tif"
    tiff(path, np.zeros((12, 16, channels), np.uint8), photometric, extra)
    with pytest.raises(DataError, match=rf"a\.tif: {words}") as caught:
        read_image(path, channels=channels)
    assert caught.value.kind == "unsuitable" and "\n" not in str(caught.value)
    if "layout" in words:
        for read in (image_size, read_mask):
            with pytest.raises(DataError, match=rf"a\.tif: {words}"):
                read(path)


@pytest.mark.parametrize("alpha", [65535, 32768, 257, 0])
def test_16_bit_colours_multiplied_by_alpha_are_composited_once(tmp_path, alpha):
    colour, background = np.array([60000, 30000, 0]), np.array([10, 20, 30])
    pixel = np.append(np.rint(colour * alpha / 65535), alpha).astype(np.uint16)
    tiff(tmp_path / "a.tif", np.tile(pixel, (4, 5, 1)), extra=[1])
    found = read_image(tmp_path / "a.tif", background=tuple(background.tolist()))
    expected = (pixel[:3] / 257) + background * (1 - alpha / 65535)
    assert np.abs(found - expected).max() <= 1
    assert np.array_equal(read_image(tmp_path / "a.tif", channels=4)[0, 0], np.rint(pixel / 257))


def compressed(path, array, number, extra=()):
    """Write a TIFF whose tag names another compression than its values have."""
    tiff(path, array, 2 if array.shape[2] > 1 else 1, extra)
    entry = struct.pack("<HHI", 259, 4, 1)
    data = path.read_bytes()
    path.write_bytes(data.replace(entry + struct.pack("<I", 1), entry + struct.pack("<I", number), 1))


@pytest.mark.parametrize(("number", "name"), [(50000, "ZSTD"), (34887, "LERC"), (34712, "JPEG 2000")])
def test_a_compression_that_cannot_be_read_is_named(tmp_path, number, name):
    """Rank 9."""
    path = tmp_path / "a.tif"
    compressed(path, np.zeros((12, 16, 1), np.uint8), number)
    for read in (lambda: read_image(path, channels=1), lambda: read_mask(path)):
        with pytest.raises(
            DataError, match=rf"a\.tif: is damaged, or {name} compression cannot be read here; save"
        ):
            read()


@pytest.mark.parametrize(("depth", "channels"), [(np.uint16, 3), (np.uint16, 4), (np.uint8, 4)])
def test_bands_that_only_cv2_reads_unchanged_are_refused_with_their_compression(tmp_path, depth, channels):
    compressed(tmp_path / "a.tif", np.zeros((12, 16, channels), depth), 50000, [0] * (channels - 3))
    with pytest.raises(DataError, match=rf"has {channels} bands with ZSTD compression, which cannot be read"):
        read_image(tmp_path / "a.tif", channels=channels)


@pytest.mark.parametrize("options", [{"compression": "zstd"}, {"compression": "lzma"}, {"big_tiff": True}])
@pytest.mark.parametrize(("channels", "depth"), [(1, np.uint8), (1, np.uint16), (3, np.uint8), (4, np.uint8)])
def test_rare_compressions_and_offsets_of_64_bits_are_exact(tmp_path, options, channels, depth):
    array = np.random.default_rng(0).integers(0, 255, (12, 16, channels)).astype(depth)
    array *= 257 if depth == np.uint16 else 1
    try:
        Image.fromarray(array[..., 0] if channels == 1 else array).save(tmp_path / "a.tif", **options)
    except (OSError, TypeError, KeyError):
        pytest.skip("this Pillow cannot write it")
    assert np.array_equal(
        read_image(tmp_path / "a.tif", channels=channels), array // (257 if depth == np.uint16 else 1)
    )


@pytest.mark.parametrize("kind", [">u2", "<u2", ">i4"])
def test_arrays_of_either_byte_order_are_read(tmp_path, kind):
    """D24."""
    values = (np.arange(20).reshape(4, 5) * 257).astype(kind)
    np.save(tmp_path / "a.npy", values)
    assert np.array_equal(read_mask(tmp_path / "a.npy"), values)
    if kind.endswith("u2"):
        assert np.array_equal(read_image(tmp_path / "a.npy", channels=1)[..., 0], values // 257)
