"""The facts of a data set that outlive it: a checkpoint carries them, so that inference needs no data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

IGNORE_INDEX = 255  # void, everywhere inside; raw void values are mapped to it when a mask is read

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class DatasetInfo:
    """Classes, colours and normalisation of a data set.

    Attributes:
        classes: class names in the order of their indices.
        palette: one (red, green, blue) triple of 0..255 per class.
        mean: per-channel mean in 0..1, in the image's channel order; its length is the channel count.
        std: per-channel standard deviation in 0..1.
        label_ids: the value that each class has in the data set's own mask files, for submissions;
            empty where it equals the class index.
    """

    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    label_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.classes) <= IGNORE_INDEX:
            raise ValueError(f"{len(self.classes)} classes; 1 to {IGNORE_INDEX} are supported")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("two classes have the same name")
        if len(self.palette) != len(self.classes):
            raise ValueError(f"{len(self.palette)} colours for {len(self.classes)} classes")
        if len(self.mean) != len(self.std) or min(self.std) <= 0:
            raise ValueError("mean and std need the same length, and std above 0")
        if self.label_ids and len(self.label_ids) != len(self.classes):
            raise ValueError(f"{len(self.label_ids)} label ids for {len(self.classes)} classes")

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def in_channels(self) -> int:
        return len(self.mean)

    @property
    def fill_colour(self) -> tuple[int, ...]:
        """The mean colour in 0..255: what padding is painted with, 0 after normalisation."""
        return tuple(round(255 * value) for value in self.mean)

    def palette_array(self) -> np.ndarray:
        """The palette as (num_classes, 3) uint8."""
        return np.asarray(self.palette, dtype=np.uint8).reshape(-1, 3)

    def to_plain(self) -> dict[str, Any]:
        """Plain types only, for a checkpoint or a JSON file."""
        return {
            "classes": list(self.classes),
            "palette": [list(colour) for colour in self.palette],
            "mean": list(self.mean),
            "std": list(self.std),
            "label_ids": list(self.label_ids),
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> DatasetInfo:
        """The inverse of :meth:`to_plain`."""
        return cls(
            classes=tuple(plain["classes"]),
            palette=tuple((int(r), int(g), int(b)) for r, g, b in plain["palette"]),
            mean=tuple(plain["mean"]),
            std=tuple(plain["std"]),
            label_ids=tuple(plain["label_ids"]),
        )


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
