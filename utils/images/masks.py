"""Reads masks as the raw indices they store.

Palette images are not turned into colours, nor grey images of fewer than 8 bits stretched to 0..255.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from utils.errors import DataError
from utils.images.header import (
    GREY,
    JPEG,
    MAX_PIXELS,
    NPY,
    PALETTE,
    first_line,
    load_npy,
    open_image,
    palette_as_grey,
    png_header,
    read_bytes,
    refuse_large,
)
from utils.images.read import decode_by_kornia, decode_grey_png, read_image

_NO_JPEG = "a JPEG mask has had its values changed by the compression; store masks as PNG"


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
    data = read_bytes(path)
    try:
        return _decode_mask(data, max_pixels)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:
        raise DataError(f"{path}: cannot be decoded: {first_line(error)}") from error


def read_colour_mask(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a mask whose colours stand for classes.

    Returns:
        (H, W, 3) uint8, red, green, blue; a palette image gives the colours of its palette.

    Raises:
        DataError: as :func:`read_mask`; a JPEG is refused, its colours are not those that were saved.
    """
    if read_bytes(Path(path)).startswith(JPEG):
        raise DataError(f"{path}: {_NO_JPEG}")
    return read_image(path, max_pixels=max_pixels)


def _decode_mask(data: bytes, max_pixels: int) -> np.ndarray:
    if data.startswith(JPEG):
        raise DataError(_NO_JPEG)
    if data.startswith(NPY):
        return _mask_from_npy(load_npy(data))
    header = png_header(data)
    if header is not None and header.depth == 8:
        refuse_large(header.pixels, max_pixels)
        size = header.height, header.width
        if header.colour_type == GREY and header.plain:
            return decode_grey_png(data, size)
        if header.colour_type == PALETTE:  # what is transparent does not matter for indices
            indices = decode_by_kornia(palette_as_grey(data), size, "mono")
            if indices is not None:
                return indices
    image = open_image(data, max_pixels)
    if image.mode in ("P", "L"):
        array = np.array(image)
        if header is not None and header.colour_type == GREY and header.depth in (2, 4):
            # Pillow stretches grey of few bits to 0..255
            array = array // (255 // (2**header.depth - 1))
        return array
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)  # in the byte order of the machine
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
