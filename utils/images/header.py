"""Facts of an image file that need no decoding: its size, orientation and kind, and the header of a PNG."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from utils.errors import DataError, first_line

MAX_PIXELS = 178_956_970  # Pillow's own limit: a small file can expand to more than the memory holds

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"
NPY = b"\x93NUMPY"
TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")  # the last two with offsets of 64 bits
GREY, RGB, PALETTE = 0, 2, 3  # colour types of a PNG header
TIFF_NEEDS = "it needs 1, 3 (RGB) or 4 (RGB and one more) bands of 8 or 16 bits, or an NPY file of"
_EXIF_ORIENTATION = 0x0112
_TIFF_BITS, _TIFF_COMPRESSION, _TIFF_SAMPLES = 258, 259, 277  # tags
# compressions of a TIFF that the libraries read only in part, or only where they were built with them
RARE_COMPRESSIONS = {
    34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA", 50000: "ZSTD", 50001: "WebP", 50002: "JPEG XL",
}  # fmt: skip


def image_size(path: str | Path) -> tuple[int, int]:
    """Return (height, width) from the header of an image file.

    Raises:
        DataError: the file is missing or is not an image.
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
        raise DataError(f"{path}: no such file", kind="missing", paths=[path]) from error
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{path}: has more than {MAX_PIXELS:,} pixels: make it smaller, or cut it into tiles",
            kind="too_large",
            paths=[path],
        ) from error
    except Exception as error:
        with path.open("rb") as file:
            cause = tiff_refusal(file)
        if cause is not None:
            raise DataError(f"{path}: {cause}", kind="unsuitable", paths=[path]) from error
        raise DataError(
            f"{path}: is not an image that can be read: {reason(error)}", kind="unreadable", paths=[path]
        ) from error


def tiff_refusal(file: BinaryIO) -> str | None:
    """Return why a TIFF that could not be decoded is none of those that are read; ``None`` for another fault."""
    header = file.read(16)
    if not header.startswith(TIFF):
        return None
    with suppress(Exception):  # of a damaged file
        tags = ImageFileDirectory_v2(header if b"+" in header[:4] else header[:8])
        file.seek(tags.next)
        tags.load(file)
        compression = RARE_COMPRESSIONS.get(tags.get(_TIFF_COMPRESSION, 1))
        if compression is not None:
            return (
                f"is damaged, or {compression} compression cannot be read here; save it with LZW or deflate"
            )
        bands, bits = tags.get(_TIFF_SAMPLES, 1), tags.get(_TIFF_BITS, (1,))[0]
        if bands > 1 or bits not in (1, 2, 4, 8, 16):
            return (
                f"has {bands} bands of {bits} bits in a layout that is not read; {TIFF_NEEDS} (H, W, {bands})"
            )
    return None


def exif_orientation(path: str | Path) -> int:
    """Return the EXIF orientation of an image file, 1..8; 1 where it has none."""
    with Image.open(path) as image:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))


def is_jpeg(path: str | Path) -> bool:
    """Return whether a file is named as a JPEG, the format that can be decoded at a fraction of its size."""
    return Path(path).suffix.lower() in (".jpg", ".jpeg")


def reason(error: Exception) -> str:
    """Return one line on why a library could not read an image."""
    if isinstance(error, UnidentifiedImageError):  # its message holds the address of a buffer
        return "not an image of a known format"
    return first_line(error)


class PngHeader:
    """Header of a PNG file.

    Attributes:
        width: in pixels.
        height: in pixels.
        depth: bits per channel.
        colour_type: ``GREY``, ``RGB``, ``PALETTE``, or one with alpha.
        plain: the file has neither transparency nor an EXIF orientation.

    Args:
        data: the file.

    Raises:
        DataError: the file is truncated.
    """

    def __init__(self, data: bytes) -> None:
        self.width: int
        self.height: int
        self.depth: int
        self.colour_type: int
        self.width, self.height, self.depth, self.colour_type = struct.unpack(">IIBB", data[16:26])
        if data.rfind(b"IEND") < data.rfind(b"IDAT"):
            raise DataError("is truncated", kind="unreadable")
        # transparency and orientation are in chunks of their own, before the pixels
        header = data[: data.find(b"IDAT")]
        self.plain = b"tRNS" not in header and b"eXIf" not in header

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.width * self.height


def png_header(data: bytes) -> PngHeader | None:
    """Return the header of a PNG file; ``None`` for other formats."""
    return PngHeader(data) if data.startswith(PNG) and len(data) > 33 else None


def palette_as_grey(data: bytes) -> bytes:
    """Return a PNG of palette indices as the grey PNG that stores the same bytes, without the palette."""
    header = bytearray(data[8:29])  # length, name and content of the first chunk
    header[17] = GREY
    checksum = zlib.crc32(header[4:]).to_bytes(4, "big")
    return PNG + bytes(header) + checksum + data[data.find(b"IDAT") - 4 :]


def refuse_large(pixels: int, max_pixels: int) -> None:
    """Raise an error where an image has more pixels than are allowed.

    Raises:
        DataError: it has.
    """
    if pixels > max_pixels:
        raise DataError(
            f"has {pixels:,} pixels; more than {max_pixels:,} are refused: make it smaller, or cut it into tiles",
            kind="too_large",
        )
