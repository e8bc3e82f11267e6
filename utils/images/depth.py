"""Range of the values that a file of more than 8 bits stores: many cameras use 10 or 12 of 16."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from utils.images.decode import decode_unchanged, load_npy, naming_file, open_image, read_bytes
from utils.images.header import MAX_PIXELS, NPY, TIFF, png_header
from utils.images.tiff import bits_per_sample, decode_tiff


def stored_extent(path: str | Path, channels: int) -> tuple[int, int] | None:
    """Return the lowest and the highest value of the first channels of a 16-bit image, before any scaling.

    Args:
        path: the file.
        channels: number of channels that count; later ones may be transparency.

    Returns:
        (lowest, highest) in 0..65535; ``None`` for files of 8 bits.

    Raises:
        DataError: the file cannot be read.
    """
    data = read_bytes(Path(path))
    with naming_file(Path(path)):
        array = _decode_wide(data)
    if array is None or array.dtype != np.uint16:
        return None
    values = array[..., :channels]
    return int(values.min()), int(values.max())


def _decode_wide(data: bytes) -> np.ndarray | None:
    """Return the stored values (H, W, C) of a file that may have more than 8 bits; ``None`` for others."""
    if data.startswith(NPY):
        return load_npy(data)
    header = png_header(data)
    if header is not None:
        return decode_unchanged(data) if header.depth == 16 else None
    image = open_image(data, MAX_PIXELS)
    if data.startswith(TIFF):
        return decode_tiff(data, image) if bits_per_sample(image) == 16 else None
    return np.asarray(image).astype(np.uint16)[..., None] if image.mode.startswith("I") else None
