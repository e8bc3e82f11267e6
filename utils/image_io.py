"""Reads images and masks strictly: a damaged file is an error with its name, never a grey picture.

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

Masks are read as the raw indices they store: palette images are not turned into colours, nor grey
images of fewer than 8 bits stretched to 0..255. Colour masks and JPEG masks are refused.
"""

from __future__ import annotations

import io
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.errors import DataError
from utils.lazy import lazy_import

if TYPE_CHECKING:
    import cv2
    from PIL import Image
else:
    cv2 = lazy_import("cv2")
    Image = lazy_import("PIL.Image")

MAX_PIXELS = 178_956_970  # Pillow's own limit: a small file can expand to more than the memory holds

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_NPY = b"\x93NUMPY"
_TIFF = (b"II*\x00", b"MM\x00*")
_GREY, _RGB = 0, 2  # colour types of a PNG header
_EXIF_ORIENTATION = 0x0112
_open_lock = threading.Lock()  # Pillow keeps its pixel limit in a global


def read_image(
    path: str | Path,
    channels: int = 3,
    background: tuple[int, ...] = (0, 0, 0),
    *,
    exif_transpose: bool = False,
    reduce: int = 1,
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
        max_pixels: larger images are refused before they are decoded.

    Returns:
        (H, W, channels) uint8, colour in the order red, green, blue.

    Raises:
        DataError: the file is missing, empty, damaged, too large, or cannot have that many channels.
    """
    path = Path(path)
    data = _read_bytes(path)
    try:
        array = _decode_image(data, channels, background, exif_transpose, reduce, max_pixels)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:  # decoders raise anything from SyntaxError to struct.error
        raise DataError(f"{path}: cannot be decoded: {_first_line(error)}") from error
    if array.shape[2] != channels:
        raise DataError(f"{path}: has {array.shape[2]} channels; {channels} are expected")
    return array


def read_mask(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a mask file as the raw values it stores.

    Args:
        path: PNG, GIF, TIFF or BMP of one channel or with a palette, or NPY of integers.
        max_pixels: larger masks are refused before they are decoded.

    Returns:
        (H, W) uint8, or uint16 or int32 where the file stores more than 8 bits.

    Raises:
        DataError: the file is missing, empty or damaged, or is a colour image or a JPEG.
    """
    path = Path(path)
    data = _read_bytes(path)
    try:
        return _decode_mask(data, max_pixels)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:
        raise DataError(f"{path}: cannot be decoded: {_first_line(error)}") from error


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) from the header of an image file, without decoding it.

    Raises:
        DataError: the file is missing or is no image.
    """
    path = Path(path)
    try:
        if path.suffix.lower() == ".npy":
            height, width = np.load(path, mmap_mode="r", allow_pickle=False).shape[:2]
            return int(height), int(width)
        with Image.open(path) as image:
            width, height = image.size
            return height, width
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except Exception as error:
        raise DataError(f"{path}: is not an image that can be read: {_first_line(error)}") from error


def exif_orientation(path: str | Path) -> int:
    """The EXIF orientation of an image file, 1 where it has none."""
    with Image.open(path) as image:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))


def is_jpeg(path: str | Path) -> bool:
    """Whether a file is named as a JPEG, the format that can be decoded at a part of its size."""
    return Path(path).suffix.lower() in (".jpg", ".jpeg")


def scale_to_uint8(array: np.ndarray) -> np.ndarray:
    """uint8 as it is; uint16 divided by 257 and rounded, so that 65535 becomes 255.

    Raises:
        DataError: another type, whose range is unknown.
    """
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    raise DataError(f"holds {array.dtype} values, whose range is unknown; store it as 8 or 16 bit integers")


# ---- the file ------------------------------------------------------------------------------------


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    if not data:
        raise DataError(f"{path}: the file is empty")
    return data


def _first_line(error: Exception) -> str:
    lines = str(error).replace(r"<_io.BytesIO object", "the file <").splitlines()
    text = lines[0] if lines else type(error).__name__
    return "not an image of a known format" if "cannot identify image" in text else text


class _PngHeader:
    """Width, height, bit depth and colour type of a PNG, and whether it is plain."""

    def __init__(self, data: bytes) -> None:
        self.width, self.height, self.depth, self.colour_type = struct.unpack(">IIBB", data[16:26])
        if data.rfind(b"IEND") < data.rfind(b"IDAT"):
            raise DataError("is truncated")
        # transparency and orientation live in chunks of their own, before the pixels
        head = data[: data.find(b"IDAT")]
        self.plain = b"tRNS" not in head and b"eXIf" not in head

    @property
    def pixels(self) -> int:
        return self.width * self.height


def _png_header(data: bytes) -> _PngHeader | None:
    return _PngHeader(data) if data.startswith(_PNG) and len(data) > 33 else None


def _refuse_large(pixels: int, max_pixels: int) -> None:
    if pixels > max_pixels:
        raise DataError(f"has {pixels:,} pixels; more than {max_pixels:,} are refused")


def _open(data: bytes, max_pixels: int) -> Any:
    if max_pixels <= MAX_PIXELS:
        image = Image.open(io.BytesIO(data))
    else:
        import PIL.Image

        with _open_lock:
            limit, PIL.Image.MAX_IMAGE_PIXELS = PIL.Image.MAX_IMAGE_PIXELS, max_pixels
            try:
                image = Image.open(io.BytesIO(data))
            finally:
                PIL.Image.MAX_IMAGE_PIXELS = limit
    _refuse_large(image.size[0] * image.size[1], max_pixels)
    return image


# ---- images --------------------------------------------------------------------------------------


def _decode_image(
    data: bytes,
    channels: int,
    background: tuple[int, ...],
    exif_transpose: bool,
    reduce: int,
    max_pixels: int,
) -> np.ndarray:
    if data.startswith(_NPY):
        return _fit_channels(scale_to_uint8(_load_npy(data)), channels, background)
    header = _png_header(data)
    if header is not None:
        _refuse_large(header.pixels, max_pixels)
        if header.depth == 8 and header.colour_type == _RGB and header.plain and channels == 3:
            return _decode_cv2(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if header.depth == 16 and not exif_transpose:
            return _fit_channels(scale_to_uint8(_decode_unchanged(data)), channels, background)
    image = _open(data, max_pixels)
    if data.startswith(_TIFF) and (_bits(image) == 16 or channels not in (1, 3)):
        return _fit_channels(scale_to_uint8(_decode_unchanged(data)), channels, background)
    if exif_transpose:
        from PIL import ImageOps

        image = ImageOps.exif_transpose(image)
    elif reduce > 1 and image.format == "JPEG":
        image.draft(image.mode, (max(image.size[0] // reduce, 1), max(image.size[1] // reduce, 1)))
    return _from_pillow(image, channels, background)


def _decode_cv2(data: bytes, flags: int) -> np.ndarray:
    """A colour image by cv2, whose PNG decoder is the fastest at hand; (H, W, 3) RGB."""
    array = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if array is None:
        raise DataError("is truncated or damaged")
    return cv2.cvtColor(array, cv2.COLOR_BGR2RGB, dst=array)


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


def _load_npy(data: bytes) -> np.ndarray:
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.ndim not in (2, 3):
        raise DataError(f"has {array.ndim} dimensions; (H, W) or (H, W, C) is expected")
    return array[..., None] if array.ndim == 2 else array


def _from_pillow(image: Any, channels: int, background: tuple[int, ...]) -> np.ndarray:
    mode = image.mode
    if mode.startswith("I;16"):
        return _fit_channels(scale_to_uint8(_array(image, np.uint16)[..., None]), channels, background)
    if mode == "I":
        array = np.asarray(image)
        if array.min() < 0 or array.max() > 65535:
            raise DataError("holds 32-bit integers, whose range is unknown; store it as 8 or 16 bit")
        return _fit_channels(scale_to_uint8(array.astype(np.uint16)[..., None]), channels, background)
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


def _array(image: Any, dtype: Any) -> np.ndarray:
    """A 16-bit Pillow image in the machine's byte order."""
    return np.asarray(image).astype(dtype)


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


# ---- masks ---------------------------------------------------------------------------------------


def _decode_mask(data: bytes, max_pixels: int) -> np.ndarray:
    if data.startswith(_JPEG):
        raise DataError("a JPEG mask has had its values changed by the compression; store masks as PNG")
    if data.startswith(_NPY):
        return _mask_from_npy(_load_npy(data))
    header = _png_header(data)
    if header is not None and header.colour_type == _GREY and header.depth == 8 and header.plain:
        _refuse_large(header.pixels, max_pixels)
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        if array is None:
            raise DataError("is truncated or damaged")
        return array
    image = _open(data, max_pixels)
    if image.mode in ("P", "L"):
        array = np.array(image)
        if header is not None and header.colour_type == _GREY and header.depth in (2, 4):
            # Pillow stretches grey of few bits to 0..255
            array = array // (255 // (2**header.depth - 1))
        return array
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    if image.mode.startswith("I;16"):
        return _array(image, np.uint16)
    if image.mode == "I":
        return np.asarray(image).astype(np.int32)
    raise DataError(
        f"is a colour image ({image.mode}), not a mask of class indices; "
        "name its colours: see 'colors' of the Folder data set"
    )


def _mask_from_npy(array: np.ndarray) -> np.ndarray:
    if array.shape[2] != 1 or array.dtype.kind not in "iub":
        raise DataError(f"an array of shape {array.shape} and type {array.dtype} is no mask of class indices")
    mask = array[..., 0]
    if mask.dtype in (np.uint8, np.uint16):
        return mask
    return mask.astype(np.uint8) if mask.dtype == np.bool_ else mask.astype(np.int32)
