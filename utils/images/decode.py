"""From the bytes of an image file to an array or a Pillow image, by the library that does it best.

Functions of this module know no path: errors that they raise begin with "is", "has" or "holds", and
:func:`naming_file` puts the file in front.
"""

from __future__ import annotations

import functools
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from utils.errors import DataError
from utils.images.header import MAX_PIXELS, reason, refuse_large, tiff_refusal

_DAMAGED = "is truncated or damaged"
_open_lock = threading.Lock()  # Pillow keeps its pixel limit in a global


def read_bytes(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        DataError: the file is missing, empty, or cannot be read.
    """
    try:
        if not path.is_file() and path.exists() and not path.is_dir():  # a pipe or a device may never end
            raise DataError(f"{path}: is not a regular file", kind="unreadable", paths=[path])
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file", kind="missing", paths=[path]) from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}", kind="unreadable", paths=[path]) from error
    if not data:
        raise DataError(f"{path}: the file is empty", kind="unreadable", paths=[path])
    return data


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Turn every error of a decoder into a :class:`DataError` that names the file.

    Raises:
        DataError: instead of any other error.
    """
    try:
        yield
    except DataError as error:
        raise error.at(path) from error
    except Exception as error:  # decoders raise anything from SyntaxError to struct.error
        raise DataError(
            f"{path}: cannot be decoded: {reason(error)}", kind="unreadable", paths=[path]
        ) from error


@contextmanager
def explaining(data: bytes) -> Iterator[None]:
    """Turn an error of a decoder into a refusal of the kind of TIFF, where the file is one that is not read.

    Raises:
        DataError: bands or a compression that are not read.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        cause = tiff_refusal(io.BytesIO(data))
        if cause is None:
            raise
        raise DataError(cause, kind="unsuitable") from error


def open_image(data: bytes, max_pixels: int) -> PIL.Image.Image:
    """Open an image by Pillow; its pixels are not decoded yet.

    Raises:
        DataError: it has more than ``max_pixels``.
    """
    try:
        if max_pixels <= MAX_PIXELS:
            image = PIL.Image.open(io.BytesIO(data))
        else:
            with _open_lock:
                limit, PIL.Image.MAX_IMAGE_PIXELS = PIL.Image.MAX_IMAGE_PIXELS, max_pixels
                try:
                    image = PIL.Image.open(io.BytesIO(data))
                finally:
                    PIL.Image.MAX_IMAGE_PIXELS = limit
    except PIL.Image.DecompressionBombError as error:
        text = f"has more than the {max_pixels:,} pixels that are read: make it smaller, or cut it into tiles"
        raise DataError(text, kind="too_large") from error
    refuse_large(image.size[0] * image.size[1], max_pixels)
    return image


def load_npy(data: bytes) -> np.ndarray:
    """Return the array (H, W, C) of an NPY file; pickled objects are refused.

    Raises:
        DataError: the array has neither 2 nor 3 dimensions.
    """
    array: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
    if array.ndim not in (2, 3):
        raise DataError(f"has {array.ndim} dimensions; (H, W) or (H, W, C) is expected", kind="unsuitable")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)  # of the machine
    return array[..., None] if array.ndim == 2 else array


def decode_by_cv2(data: bytes, flags: int) -> np.ndarray:
    """Decode an image by cv2, which is faster than Pillow.

    cv2 returns a full image for a truncated JPEG, so give it only those that have their end.

    Args:
        data: the file.
        flags: of ``cv2.imdecode``; a colour mode.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DataError: the file is damaged.
    """
    flags |= cv2.IMREAD_IGNORE_ORIENTATION
    in_rgb = hasattr(cv2, "IMREAD_COLOR_RGB")  # from cv2 4.11 on; it replaces IMREAD_COLOR
    if in_rgb:
        flags = flags & ~cv2.IMREAD_COLOR | cv2.IMREAD_COLOR_RGB
    array = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if array is None:
        raise DataError(_DAMAGED, kind="unreadable")
    return array if in_rgb else cv2.cvtColor(array, cv2.COLOR_BGR2RGB, dst=array)


def decode_rgb_png(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """Return the values (H, W, 3) of a plain 8-bit RGB PNG.

    Raises:
        DataError: the file is damaged.
    """
    array = decode_by_kornia(data, size, "rgb")
    return decode_by_cv2(data, cv2.IMREAD_COLOR) if array is None else array


def decode_grey_png(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """Return the values (H, W) of a plain 8-bit grey PNG.

    Raises:
        DataError: the file is damaged.
    """
    array = decode_by_kornia(data, size, "mono")
    if array is None:
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if array is None:
        raise DataError(_DAMAGED, kind="unreadable")
    return array.reshape(size)


def decode_by_kornia(data: bytes, size: tuple[int, int], mode: str) -> np.ndarray | None:
    """Decode a plain 8-bit PNG by kornia-rs, in a half (RGB) to a seventh (masks) of the time of others.

    Args:
        data: the file; kornia-rs verifies every checksum in it.
        size: (height, width) as its header says.
        mode: ``"rgb"`` gives (H, W, 3), ``"mono"`` (H, W).

    Returns:
        The values; ``None`` without kornia-rs, and where it fails: another library then finds out
        whether the file is at fault.
    """
    decode = _kornia_decoder()
    if decode is None:
        return None
    try:
        array = np.asarray(decode(data, size, mode))
    except Exception:  # its bindings raise anything; cv2 or Pillow reads the file next and names the fault
        return None
    shape = (*size, 3) if mode == "rgb" else size
    return array.reshape(shape) if array.dtype == np.uint8 and array.size == np.prod(shape) else None


def decode_unchanged(data: bytes) -> np.ndarray:
    """Decode by cv2 an image that Pillow would cut to 8 bits or to 4 channels.

    Returns:
        (H, W, C), colour in the order red, green, blue, in the type of the file.

    Raises:
        DataError: the file is damaged or has too many channels for cv2.
    """
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise DataError(f"{_DAMAGED}, or has a number of channels that cv2 cannot read", kind="unreadable")
    if array.ndim == 2:
        return array[..., None]
    if array.shape[2] in (3, 4):  # cv2 swaps red and blue
        array = array[..., [2, 1, 0, 3][: array.shape[2]]]
    return array


@functools.cache
def _kornia_decoder() -> Callable[[bytes, tuple[int, int], str], np.ndarray] | None:
    try:
        from kornia_rs.io import decode_image_png_u8
    except ImportError:  # kornia-rs has no wheel for some platforms
        return None
    decode: Callable[[bytes, tuple[int, int], str], np.ndarray] = decode_image_png_u8
    return decode
