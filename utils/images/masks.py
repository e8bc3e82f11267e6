"""Reads masks as the raw indices they store.

A palette image is not converted to its colours, and grey of fewer than 8 bits is not stretched to 0..255.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image

from utils.errors import DataError
from utils.images.decode import (
    decode_by_kornia,
    decode_grey_png,
    explaining,
    load_npy,
    naming_file,
    open_image,
    read_bytes,
)
from utils.images.header import (
    GREY,
    JPEG,
    MAX_PIXELS,
    NPY,
    PALETTE,
    PngHeader,
    palette_as_grey,
    png_header,
    refuse_large,
)
from utils.images.read import read_image

MaskValue = int | tuple[int, int, int]  # a class index, or red, green, blue


def read_mask(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a mask file as the raw values it stores.

    Args:
        path: PNG, GIF, TIFF or BMP of one channel or with a palette, or NPY of integers.
        max_pixels: larger masks are refused before they are decoded.

    Returns:
        (H, W) uint8, or uint16 or int32 where the file stores more than 8 bits.

    Raises:
        DataError: the file is missing, empty or damaged, or is a colour image or a JPEG; its ``kind``
            says which.
    """
    path = Path(path)
    data = read_bytes(path)
    with naming_file(path):
        _refuse_jpeg(data)
        return _decode(data, max_pixels)


def read_colour_mask(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a mask whose colours encode the classes.

    Returns:
        (H, W, 3) uint8 RGB; a palette image gives the colours of its palette.

    Raises:
        DataError: as :func:`read_mask`. A JPEG is refused: the compression has changed its colours.
    """
    path = Path(path)
    data = read_bytes(path)
    with naming_file(path):
        _refuse_jpeg(data)
    return read_image(path, max_pixels=max_pixels)


def count_mask_values(path: str | Path) -> dict[MaskValue, int]:
    """Count the pixels of each value of a mask, or of each colour where the mask is a colour image.

    Raises:
        DataError: the mask cannot be read, or is a JPEG.
    """
    try:
        values, counts = np.unique(read_mask(path), return_counts=True)
        return dict(zip(values.tolist(), counts.tolist(), strict=True))
    except DataError as error:
        if error.kind != "colour_mask":
            raise
    pixels = read_colour_mask(path).reshape(-1, 3)
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    return dict(zip(map(tuple, colours.tolist()), counts.tolist(), strict=True))


def _refuse_jpeg(data: bytes) -> None:
    if data.startswith(JPEG):
        raise DataError(
            "a JPEG mask has had its values changed by the compression; store masks as PNG", kind="jpeg_mask"
        )


def _decode(data: bytes, max_pixels: int) -> np.ndarray:
    if data.startswith(NPY):
        return _from_npy(load_npy(data))
    header = png_header(data)
    if header is not None and header.depth == 8:
        refuse_large(header.pixels, max_pixels)
        indices = _decode_png(data, header)
        if indices is not None:
            return indices
    with explaining(data):
        return _from_pillow(open_image(data, max_pixels), header)


def _decode_png(data: bytes, header: PngHeader) -> np.ndarray | None:
    """Return the indices of an 8-bit PNG; ``None`` where only Pillow can read them."""
    if header.colour_type == GREY and header.plain:
        return decode_grey_png(data, header.size)
    if header.colour_type == PALETTE:  # transparency does not matter for indices
        return decode_by_kornia(palette_as_grey(data), header.size, "mono")
    return None


def _from_pillow(image: PIL.Image.Image, header: PngHeader | None) -> np.ndarray:
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
        "name its colours: see 'colors' of the Folder data set",
        kind="colour_mask",
    )


def _from_npy(array: np.ndarray) -> np.ndarray:
    if array.shape[2] != 1 or array.dtype.kind not in "iub":
        raise DataError(
            f"an array of shape {array.shape} and type {array.dtype} is not a mask of class indices",
            kind="unsuitable",
        )
    mask = array[..., 0]
    if mask.dtype in (np.uint8, np.uint16):
        return mask
    return mask.astype(np.uint8) if mask.dtype == np.bool_ else mask.astype(np.int32)
