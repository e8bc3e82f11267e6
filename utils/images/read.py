"""Reads image files strictly: a damaged file is an error that names it, never a grey image.

How each kind of file is read as an image of 3 channels:

==========================  =====================================================================
file                        result
==========================  =====================================================================
8-bit RGB                   as it is
grey, 1-bit                 repeated three times; 1-bit is 0 or 255
palette                     its colours
alpha (RGBA, LA, palette)   composited over ``background``
CMYK, YCbCr, LAB            converted by Pillow
16-bit grey, RGB, RGBA      divided by 257 and rounded: scaled, never clipped
float, 32-bit integer       refused: the value range is unknown
8-bit TIFF, 4 channels      unchanged; refused where colours are stored multiplied by alpha
TIFF of more bands          refused; NPY files may have any number
NPY                         (H, W) or (H, W, C), uint8 or uint16
==========================  =====================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps

from utils.errors import DataError
from utils.images.decode import (
    decode_by_cv2,
    decode_rgb_png,
    decode_unchanged,
    explaining,
    load_npy,
    naming_file,
    open_image,
    read_bytes,
)
from utils.images.header import MAX_PIXELS, NPY, RGB, TIFF, PngHeader, png_header, refuse_large
from utils.images.tiff import bits_per_sample, decode_tiff, divide_by_alpha, is_premultiplied

FULL_RANGE = (0, 65535)
_JPEG_END = b"\xff\xd9"
_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def read_image(
    path: str | Path,
    channels: int = 3,
    background: tuple[int, ...] = (0, 0, 0),
    *,
    exif_transpose: bool = False,
    reduce: int = 1,
    value_range: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Read an image file as the table above says.

    Args:
        path: the file.
        channels: 3 for colour, 1 for grey; any other number must be the number that the file has.
        background: colour behind transparent pixels, ``channels`` values of 0..255.
        exif_transpose: rotate a photo by its EXIF orientation. Leave it off for images that have a mask.
        reduce: 1, 2, 4 or 8. A JPEG is then decoded at this fraction of its size, sides rounded up,
            several times faster; other files, and JPEGs with ``exif_transpose``, ignore it.
        value_range: (lowest, highest) value of 16-bit files, which become 0 and 255; by default the
            full 16 bits. 8-bit files ignore it.
        max_pixels: larger images are refused before they are decoded.

    Returns:
        (H, W, channels) uint8, colour in the order red, green, blue.

    Raises:
        DataError: the file is missing, empty, damaged, too large, or cannot have that many channels.
    """
    path = Path(path)
    wanted = _Wanted(channels, background, exif_transpose, reduce, value_range or FULL_RANGE, max_pixels)
    data = read_bytes(path)
    with naming_file(path):
        return _decode(data, wanted)


def scale_to_uint8(array: np.ndarray, value_range: tuple[int, int] = FULL_RANGE) -> np.ndarray:
    """Return uint8 as it is, and uint16 scaled so that ``value_range`` becomes 0..255, and rounded.

    Raises:
        DataError: any other type, whose value range is unknown.
    """
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        low, high = value_range
        steps = np.clip(np.arange(65536) - low, 0, high - low) * (255 / (high - low))
        scaled: np.ndarray = np.rint(steps).astype(np.uint8)[array]
        return scaled
    raise DataError(
        f"holds {array.dtype} values, whose range is unknown; store it as 8 or 16 bit integers",
        kind="unsuitable",
    )


@dataclass(frozen=True)
class _Wanted:
    """Arguments of :func:`read_image`."""

    channels: int
    background: tuple[int, ...]
    exif_transpose: bool
    reduce: int
    value_range: tuple[int, int]
    max_pixels: int

    def fit(self, array: np.ndarray) -> np.ndarray:
        """Return an array (H, W, C) as 8 bits with the wanted channels."""
        return _fit_channels(scale_to_uint8(array, self.value_range), self.channels, self.background)


def _decode(data: bytes, wanted: _Wanted) -> np.ndarray:
    with explaining(data):
        array = _decode_any(data, wanted)
    if array.shape[2] != wanted.channels:
        raise DataError(f"has {array.shape[2]} channels; {wanted.channels} are expected", kind="unsuitable")
    return array


def _decode_any(data: bytes, wanted: _Wanted) -> np.ndarray:
    """Return (H, W, C) uint8; C may differ from the wanted number where that is neither 1 nor 3."""
    if data.startswith(NPY):
        loaded = load_npy(data)
        refuse_large(loaded.shape[0] * loaded.shape[1], wanted.max_pixels)
        return wanted.fit(loaded)
    header = png_header(data)
    array = None if header is None else _decode_png(data, header, wanted)
    if array is not None:
        return array
    image = open_image(data, wanted.max_pixels)
    if data.startswith(TIFF) and (bits_per_sample(image) == 16 or wanted.channels not in (1, 3)):
        array = decode_tiff(data, image)
        divided = wanted.channels in (1, 3) and is_premultiplied(image)
        return wanted.fit(divide_by_alpha(array) if divided else array)
    if wanted.exif_transpose:
        return _from_pillow(PIL.ImageOps.exif_transpose(image), wanted)
    return _decode_jpeg(data, image, wanted) if image.format == "JPEG" else _from_pillow(image, wanted)


def _decode_png(data: bytes, header: PngHeader, wanted: _Wanted) -> np.ndarray | None:
    """Decode a plain 8-bit RGB PNG or one of 16 bits; return ``None`` for others, which Pillow decodes."""
    refuse_large(header.pixels, wanted.max_pixels)
    if header.depth == 8 and header.colour_type == RGB and header.plain and wanted.channels == 3:
        return decode_rgb_png(data, header.size)
    if header.depth == 16 and not wanted.exif_transpose:
        return wanted.fit(decode_unchanged(data))
    return None


def _decode_jpeg(data: bytes, image: PIL.Image.Image, wanted: _Wanted) -> np.ndarray:
    """Decode a JPEG at the wanted fraction of its size."""
    if wanted.channels == 3 and image.mode in ("RGB", "L") and data.endswith(_JPEG_END):
        return decode_by_cv2(data, _REDUCED[wanted.reduce])
    width, height = (max(side // wanted.reduce, 1) for side in image.size)
    image.draft(image.mode, (width, height))
    return _from_pillow(image, wanted)


def _from_pillow(image: PIL.Image.Image, wanted: _Wanted) -> np.ndarray:
    mode = image.mode
    if mode.startswith("I"):
        array = np.asarray(image)
        if array.min() < 0 or array.max() > 65535:
            raise DataError(
                "holds 32-bit integers, whose range is unknown; store it as 8 or 16 bit", kind="unsuitable"
            )
        return wanted.fit(array.astype(np.uint16)[..., None])
    if mode == "F":
        raise DataError(
            "holds float values, whose range is unknown; store it as 8 or 16 bit integers", kind="unsuitable"
        )
    if wanted.channels not in (1, 3):
        array = np.asarray(image)
        return array[..., None] if array.ndim == 2 else array
    if _is_transparent(image):
        return wanted.fit(np.asarray(image.convert("RGBA")))
    if wanted.channels == 1:
        return np.array(image.convert("L"))[..., None]
    return np.array(image if mode == "RGB" else image.convert("RGB"))


def _is_transparent(image: PIL.Image.Image) -> bool:
    if hasattr(image, "has_transparency_data"):  # from Pillow 10.1 on
        return image.has_transparency_data
    return image.mode[-1] in "Aa"


def _fit_channels(array: np.ndarray, channels: int, background: tuple[int, ...]) -> np.ndarray:
    """Composite alpha, then repeat or weight channels to get 1 or 3 of them; other numbers stay."""
    if channels not in (1, 3) or array.shape[2] == channels:
        return array
    if array.shape[2] in (2, 4):
        array = _composite(array, background)
    if array.shape[2] == 1 and channels == 3:
        return np.repeat(array, 3, axis=2)
    if array.shape[2] == 3 and channels == 1:
        return cv2.cvtColor(np.ascontiguousarray(array), cv2.COLOR_RGB2GRAY)[..., None]
    return array


def _composite(array: np.ndarray, background: tuple[int, ...]) -> np.ndarray:
    """Lay colours with alpha over a background."""
    colour = array[..., :-1].astype(np.float32)
    alpha = array[..., -1:].astype(np.float32) / 255
    below = np.asarray(background[: colour.shape[2]], dtype=np.float32)
    mixed: np.ndarray = np.rint(colour * alpha + below * (1 - alpha))
    return mixed.astype(np.uint8)
