"""Reads images strictly: a damaged file is an error with its name, never a grey picture.

What becomes of each kind of file when an image is read with 3 channels:

==========================  =====================================================================
file                        result
==========================  =====================================================================
8-bit RGB                   as it is
grey, 1-bit                 repeated three times; 1-bit is 0 or 255
palette                     its colours
alpha (RGBA, LA, palette)   composited over ``background``
CMYK, YCbCr, LAB            converted by Pillow
16-bit grey, RGB, RGBA      divided by 257 and rounded: scaled, never clipped
float, 32-bit integer       refused: their range is unknown
NPY                         (H, W) or (H, W, C), uint8 or uint16
==========================  =====================================================================
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from utils.errors import DataError
from utils.images.header import (
    MAX_PIXELS,
    NPY,
    RGB,
    TIFF,
    first_line,
    load_npy,
    open_image,
    png_header,
    read_bytes,
    refuse_large,
)

FULL_RANGE = (0, 65535)
_JPEG_END = b"\xff\xd9"
_REDUCED = {  # looked up late: cv2 is not loaded yet
    1: lambda: cv2.IMREAD_COLOR,
    2: lambda: cv2.IMREAD_REDUCED_COLOR_2,
    4: lambda: cv2.IMREAD_REDUCED_COLOR_4,
    8: lambda: cv2.IMREAD_REDUCED_COLOR_8,
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
        channels: 3 for colour, 1 for grey; another number must be the number that the file has.
        background: what shows through transparent pixels, ``channels`` values of 0..255.
        exif_transpose: turn a photo as its camera says. Leave it off for images that have a mask.
        reduce: 1, 2, 4 or 8. A JPEG is then decoded at that part of its size, which is several
            times faster; other files, and JPEGs with ``exif_transpose``, ignore it. The sides are
            rounded up.
        value_range: (lowest, highest) value of 16-bit files, which become 0 and 255; all of the 16 bits
            by default. 8-bit files ignore it.
        max_pixels: larger images are refused before they are decoded.

    Returns:
        (H, W, channels) uint8, colour in the order red, green, blue.

    Raises:
        DataError: the file is missing, empty, damaged, too large, or cannot have that many channels.
    """
    path = Path(path)
    data = read_bytes(path)
    try:
        array = _decode_image(
            data, channels, background, exif_transpose, reduce, value_range or FULL_RANGE, max_pixels
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:  # decoders raise anything from SyntaxError to struct.error
        raise DataError(f"{path}: cannot be decoded: {first_line(error)}") from error
    if array.shape[2] != channels:
        raise DataError(f"{path}: has {array.shape[2]} channels; {channels} are expected")
    return array


def scale_to_uint8(array: np.ndarray, value_range: tuple[int, int] = FULL_RANGE) -> np.ndarray:
    """uint8 as it is; uint16 scaled so that ``value_range`` becomes 0..255, and rounded.

    Raises:
        DataError: another type, whose range is unknown.
    """
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        low, high = value_range
        steps = np.clip(np.arange(65536) - low, 0, high - low) * (255 / (high - low))
        return np.rint(steps).astype(np.uint8)[array]
    raise DataError(f"holds {array.dtype} values, whose range is unknown; store it as 8 or 16 bit integers")


# ---- parts ----------------------------------------------------------------------------------------


def _decode_image(
    data: bytes,
    channels: int,
    background: tuple[int, ...],
    exif_transpose: bool,
    reduce: int,
    value_range: tuple[int, int],
    max_pixels: int,
) -> np.ndarray:
    if data.startswith(NPY):
        return _fit_channels(scale_to_uint8(load_npy(data), value_range), channels, background)
    header = png_header(data)
    if header is not None:
        refuse_large(header.pixels, max_pixels)
        if header.depth == 8 and header.colour_type == RGB and header.plain and channels == 3:
            return _decode_png(data, (header.height, header.width))
        if header.depth == 16 and not exif_transpose:
            return _fit_channels(scale_to_uint8(_decode_unchanged(data), value_range), channels, background)
    image = open_image(data, max_pixels)
    if data.startswith(TIFF) and (_bits(image) == 16 or channels not in (1, 3)):
        return _fit_channels(scale_to_uint8(_decode_unchanged(data), value_range), channels, background)
    if exif_transpose:
        from PIL import ImageOps

        image = ImageOps.exif_transpose(image)
    elif image.format == "JPEG":
        if channels == 3 and image.mode in ("RGB", "L") and data.endswith(_JPEG_END):
            return _decode_cv2(data, _REDUCED[reduce]())
        image.draft(image.mode, (max(image.size[0] // reduce, 1), max(image.size[1] // reduce, 1)))
    return _from_pillow(image, channels, background, value_range)


def _decode_cv2(data: bytes, flags: int) -> np.ndarray:
    """(H, W, 3) RGB by cv2, which is faster than Pillow.

    cv2 returns a full picture for a truncated JPEG, so it gets only those that have their end.
    """
    flags |= cv2.IMREAD_IGNORE_ORIENTATION
    in_rgb = hasattr(cv2, "IMREAD_COLOR_RGB")  # from cv2 4.11 on; it takes the place of IMREAD_COLOR
    if in_rgb:
        flags = flags & ~cv2.IMREAD_COLOR | cv2.IMREAD_COLOR_RGB
    array = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if array is None:
        raise DataError("is truncated or damaged")
    return array if in_rgb else cv2.cvtColor(array, cv2.COLOR_BGR2RGB, dst=array)


def _decode_png(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """An 8-bit RGB image."""
    array = decode_by_kornia(data, size, "rgb")
    return _decode_cv2(data, cv2.IMREAD_COLOR) if array is None else array


def decode_grey_png(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """The values (H, W) of a plain 8-bit grey PNG.

    Raises:
        DataError: the file is damaged.
    """
    array = decode_by_kornia(data, size, "mono")
    if array is None:
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if array is None:
        raise DataError("is truncated or damaged")
    return array.reshape(size)


def decode_by_kornia(data: bytes, size: tuple[int, int], mode: str) -> np.ndarray | None:
    """A plain 8-bit PNG by kornia-rs, in a half (RGB) to a seventh (masks) of the time that others take.

    Args:
        data: the file; every checksum in it is verified.
        size: (height, width) as its header says.
        mode: ``"rgb"`` gives (H, W, 3), ``"mono"`` (H, W).

    Returns:
        The values; ``None`` without kornia-rs, and where it fails: others then say whether the file is
        at fault.
    """
    decode = _fast_png()
    if decode is None:
        return None
    try:
        array = np.asarray(decode(data, size, mode))
    except Exception:  # whatever its bindings raise: cv2 or Pillow reads the file next and says what is wrong
        return None
    shape = (*size, 3) if mode == "rgb" else size
    return array.reshape(shape) if array.dtype == np.uint8 and array.size == np.prod(shape) else None


@functools.cache
def _fast_png() -> Any:
    try:
        from kornia_rs.io import decode_image_png_u8
    except ImportError:  # there is no wheel of it for every platform
        return None
    return decode_image_png_u8


def _decode_unchanged(data: bytes) -> np.ndarray:
    """What Pillow would cut to 8 bits or to 4 channels: (H, W, C) in the order red, green, blue."""
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise DataError("is truncated or damaged, or has a number of channels that cv2 cannot read")
    if array.ndim == 2:
        return array[..., None]
    if array.shape[2] in (3, 4):  # cv2 swaps red and blue
        array = array[..., [2, 1, 0, 3][: array.shape[2]]]
    return array


def _bits(image: Any) -> int:
    """Bits per channel of a TIFF."""
    bits = image.tag_v2.get(258, (8,)) if hasattr(image, "tag_v2") else (8,)
    return int(bits[0] if isinstance(bits, tuple) else bits)


def _from_pillow(
    image: Any, channels: int, background: tuple[int, ...], value_range: tuple[int, int]
) -> np.ndarray:
    mode = image.mode
    if mode.startswith("I"):
        array = np.asarray(image)
        if array.min() < 0 or array.max() > 65535:
            raise DataError("holds 32-bit integers, whose range is unknown; store it as 8 or 16 bit")
        grey = scale_to_uint8(array.astype(np.uint16)[..., None], value_range)
        return _fit_channels(grey, channels, background)
    if mode == "F":
        raise DataError("holds float values, whose range is unknown; store it as 8 or 16 bit integers")
    if channels not in (1, 3):
        array = np.asarray(image)
        return array[..., None] if array.ndim == 2 else array
    if image.has_transparency_data if hasattr(image, "has_transparency_data") else mode[-1] in "Aa":
        return _fit_channels(np.asarray(image.convert("RGBA")), channels, background)
    if channels == 1:
        return np.array(image.convert("L"))[..., None]
    return np.array(image if mode == "RGB" else image.convert("RGB"))


def _fit_channels(array: np.ndarray, channels: int, background: tuple[int, ...]) -> np.ndarray:
    """Composite alpha, then repeat or weigh channels to get 1 or 3 of them; other numbers stay."""
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
    return np.rint(colour * alpha + below * (1 - alpha)).astype(np.uint8)
