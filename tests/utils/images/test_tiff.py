"""TIFF values come back exactly as they are stored, or are refused in one line."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from utils.errors import DataError
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


@pytest.mark.parametrize("kind", [">u2", "<u2", ">i4"])
def test_arrays_of_either_byte_order_are_read(tmp_path, kind):
    """D24."""
    values = (np.arange(20).reshape(4, 5) * 257).astype(kind)
    np.save(tmp_path / "a.npy", values)
    assert np.array_equal(read_mask(tmp_path / "a.npy"), values)
    if kind.endswith("u2"):
        assert np.array_equal(read_image(tmp_path / "a.npy", channels=1)[..., 0], values // 257)
