"""Opens image files: strictly, with a limit on pixels, and with what their headers say."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from utils.errors import DataError

MAX_PIXELS = 178_956_970  # Pillow's own limit: a small file can expand to more than the memory holds

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"
NPY = b"\x93NUMPY"
TIFF = (b"II*\x00", b"MM\x00*")
GREY, RGB, PALETTE = 0, 2, 3  # colour types of a PNG header
_EXIF_ORIENTATION = 0x0112
_open_lock = threading.Lock()  # Pillow keeps its pixel limit in a global


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
        raise DataError(f"{path}: is not an image that can be read: {first_line(error)}") from error


def exif_orientation(path: str | Path) -> int:
    """The EXIF orientation of an image file, 1 where it has none."""
    with Image.open(path) as image:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))


def is_jpeg(path: str | Path) -> bool:
    """Whether a file is named as a JPEG, the format that can be decoded at a part of its size."""
    return Path(path).suffix.lower() in (".jpg", ".jpeg")


def read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    if not data:
        raise DataError(f"{path}: the file is empty")
    return data


def first_line(error: Exception) -> str:
    lines = str(error).replace(r"<_io.BytesIO object", "the file <").splitlines()
    text = lines[0] if lines else type(error).__name__
    return "not an image of a known format" if "cannot identify image" in text else text


class PngHeader:
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


def png_header(data: bytes) -> PngHeader | None:
    return PngHeader(data) if data.startswith(PNG) and len(data) > 33 else None


def palette_as_grey(data: bytes) -> bytes:
    """A PNG of palette indices as the grey PNG that stores the same bytes; its palette is left out."""
    header = bytearray(data[8:29])  # length, name and content of the first chunk
    header[17] = GREY
    checksum = zlib.crc32(header[4:]).to_bytes(4, "big")
    return PNG + bytes(header) + checksum + data[data.find(b"IDAT") - 4 :]


def refuse_large(pixels: int, max_pixels: int) -> None:
    if pixels > max_pixels:
        raise DataError(f"has {pixels:,} pixels; more than {max_pixels:,} are refused")


def open_image(data: bytes, max_pixels: int) -> Any:
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
    refuse_large(image.size[0] * image.size[1], max_pixels)
    return image


def load_npy(data: bytes) -> np.ndarray:
    """(H, W, C) array of an NPY file; pickled objects are refused."""
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.ndim not in (2, 3):
        raise DataError(f"has {array.ndim} dimensions; (H, W) or (H, W, C) is expected")
    return array[..., None] if array.ndim == 2 else array
