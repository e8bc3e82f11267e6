"""Values of a TIFF exactly as the file stores them, or a refusal that names what the file is."""

from __future__ import annotations

import numpy as np
import PIL.Image

from utils.errors import DataError
from utils.images.decode import decode_unchanged

_BITS, _SAMPLES, _PLANES, _EXTRA = 258, 277, 284, 338  # tags


def bits_per_sample(image: PIL.Image.Image) -> int:
    """Return the bits of each value of a TIFF; 8 for other formats."""
    return _tag(image, _BITS, 8)


def decode_tiff(data: bytes, image: PIL.Image.Image) -> np.ndarray:
    """Return the values of a TIFF exactly as they are stored, (H, W, C).

    Args:
        data: the file.
        image: the same file, opened by Pillow.

    Raises:
        DataError: no library at hand returns them unchanged.
    """
    if bits_per_sample(image) == 16:
        if _tag(image, _PLANES, 1) == 2 and _tag(image, _SAMPLES, 1) > 1:
            raise DataError("stores 16-bit channels as planes; store them pixel by pixel", kind="unsuitable")
        return decode_unchanged(data)
    # cv2 multiplies colours of 8 bits by alpha, and Pillow divides those that were stored multiplied
    if _tag(image, _EXTRA, 0) == 1:
        raise DataError(
            "stores colours multiplied by alpha; store the channels unchanged (extra samples unspecified)",
            kind="unsuitable",
        )
    if image.mode == "RGB" and _tag(image, _SAMPLES, 3) == 4:  # Pillow drops a fourth channel of unknown use
        return decode_unchanged(data)
    array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array


def _tag(image: PIL.Image.Image, tag: int, default: int) -> int:
    """Return the first value of a tag of a TIFF."""
    value = image.tag_v2.get(tag, default) if hasattr(image, "tag_v2") else default
    return int(value[0] if isinstance(value, tuple) else value)
