"""Some rows of a scaled image, without scaling the rest of it."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from utils.tiling import source_positions

_CV2_CHANNELS = 4  # more than these, cv2 does one by one


def source_rows(rows: slice, length: int, source: int) -> slice:
    """The rows of an image that some rows of it scaled are made from.

    Args:
        rows: of the scaled image.
        length: height of the scaled image.
        source: height of the image.
    """
    lower, upper, _ = source_positions(length, source)
    return slice(int(lower[rows][0]), int(upper[rows][-1]) + 1)


def scaled_rows(pixels: Tensor, rows: slice, length: int, source: int, width: int) -> Tensor:
    """Interpolate bilinearly (pixel centres, edges held).

    Args:
        pixels: (h, w, C) float32, the :func:`source_rows` of the image.
        rows: of the scaled image.
        length: height of the scaled image.
        source: height of the image.
        width: of the scaled image.

    Returns:
        (rows, width, C) float32.
    """
    lower, upper, fraction = source_positions(length, source)
    first = int(lower[rows][0])
    low, high = (torch.from_numpy(index[rows] - first).to(pixels.device) for index in (lower, upper))
    between = torch.from_numpy(fraction[rows].astype(np.float32)).to(pixels.device)[:, None, None]
    narrower = width <= pixels.shape[1]  # the axis that leaves less to do for the other comes first
    if narrower:
        pixels = _scaled_columns(pixels, width)
    strip = torch.lerp(pixels.index_select(0, low), pixels.index_select(0, high), between)
    return strip if narrower else _scaled_columns(strip, width)


def _scaled_columns(pixels: Tensor, width: int) -> Tensor:
    """(h, w, C) to (h, width, C)."""
    height, _, channels = pixels.shape
    if pixels.device.type == "cpu" and channels <= _CV2_CHANNELS:  # several times faster than torch's
        resized = cv2.resize(pixels.contiguous().numpy(), (width, height), interpolation=cv2.INTER_LINEAR)
        return torch.from_numpy(resized).view(height, width, channels)
    images = pixels.permute(2, 0, 1)[None]
    (scaled,) = F.interpolate(images, size=(height, width), mode="bilinear", align_corners=False)
    return scaled.permute(1, 2, 0)
