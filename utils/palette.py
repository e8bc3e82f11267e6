"""Colours of class indices."""

from __future__ import annotations

import numpy as np

from utils.dataset_info import IGNORE_INDEX, DatasetInfo

VOID_COLOUR = (224, 224, 192)  # what the VOC devkit paints 255 with


def voc_palette(count: int) -> list[tuple[int, int, int]]:
    """Colours of classes 0..count-1 by the bit rule of the VOC devkit (Everingham et al., 2010).

    Three bits of the class number at a time become the next lower bits of red, green and blue, so the
    colours of small numbers lie far apart.

    Args:
        count: 0 to 256 colours.

    Raises:
        ValueError: more than 256: a palette image holds no more.
    """
    if not 0 <= count <= 256:
        raise ValueError(f"{count} colours; the VOC rule has 256")
    colours = []
    for number in range(count):
        red = green = blue = 0
        rest = number
        for bit in range(7, -1, -1):
            red |= (rest & 1) << bit
            green |= ((rest >> 1) & 1) << bit
            blue |= ((rest >> 2) & 1) << bit
            rest >>= 3
        colours.append((red, green, blue))
    return colours


def colour_table(info: DatasetInfo) -> np.ndarray:
    """(256, 3) uint8: the colour of every value that a mask may hold.

    Classes have the data set's colours, void (255) the devkit's beige, values in between, which no
    mask holds, the VOC colours.
    """
    table = np.array(voc_palette(256), dtype=np.uint8)
    table[: info.num_classes] = info.palette_array()
    table[IGNORE_INDEX] = VOID_COLOUR
    return table
