"""Values of a TIFF exactly as the file stores them, or a refusal that names what the file is."""

from __future__ import annotations

import numpy as np
import PIL.Image

from utils.errors import DataError
from utils.images.decode import decode_unchanged
from utils.images.header import RARE_COMPRESSIONS, TIFF_NEEDS

_BITS, _COMPRESSION, _SAMPLES, _PLANES, _EXTRA = 258, 259, 277, 284, 338  # tags


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
        return _by_cv2(data, image)
    # cv2 multiplies colours of 8 bits by alpha, and Pillow divides those that were stored multiplied
    if is_premultiplied(image):
        raise DataError(
            "stores colours multiplied by alpha; store the channels unchanged (extra samples unspecified)",
            kind="unsuitable",
        )
    samples = _tag(image, _SAMPLES, 1)
    if image.mode == "RGB" and samples == 4:  # Pillow drops a fourth channel of unknown use
        return _by_cv2(data, image)
    array = np.asarray(image)
    array = array[..., None] if array.ndim == 2 else array
    if image.mode != "P" and array.shape[2] != samples:  # Pillow drops further channels too
        text = f"has {samples} bands, of which only {array.shape[2]} are read; {TIFF_NEEDS} (H, W, {samples})"
        raise DataError(text, kind="unsuitable")
    return array


def is_premultiplied(image: PIL.Image.Image) -> bool:
    """Return whether a TIFF stores colours multiplied by alpha."""
    return _tag(image, _EXTRA, 0) == 1


def divide_by_alpha(array: np.ndarray) -> np.ndarray:
    """Return colours (H, W, C) of 16 bits, stored multiplied by the alpha in the last channel, without it."""
    alpha = array[..., -1:].astype(np.float64)
    colours = array[..., :-1] * np.divide(65535, alpha, out=np.zeros_like(alpha), where=alpha > 0)
    return np.concatenate([np.rint(colours.clip(max=65535)).astype(np.uint16), array[..., -1:]], axis=2)


def _by_cv2(data: bytes, image: PIL.Image.Image) -> np.ndarray:
    """Decode by cv2, or by Pillow a compression that cv2 lacks.

    Raises:
        DataError: neither can.
    """
    compression = RARE_COMPRESSIONS.get(_tag(image, _COMPRESSION, 1))
    if compression is None:
        return decode_unchanged(data)
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)[..., None]
    text = (
        f"has {_tag(image, _SAMPLES, 1)} bands with {compression} compression, which cannot be read unchanged"
    )
    raise DataError(f"{text}; save it with LZW or deflate", kind="unsuitable")


def _tag(image: PIL.Image.Image, tag: int, default: int) -> int:
    """Return the first value of a tag of a TIFF."""
    value = image.tag_v2.get(tag, default) if hasattr(image, "tag_v2") else default
    return int(value[0] if isinstance(value, tuple) else value)
