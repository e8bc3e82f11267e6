"""Facts of a data set that a checkpoint carries (classes, colours, normalisation), and their arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # tools that only convert mask files never import torch
    import torch
    from torch import Tensor

IGNORE_INDEX = 255  # void in every target; raw void values become it when a mask is read
VOID_COLOUR = (224, 224, 192)  # the VOC devkit paints 255 with it

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of the images that weights were trained with.

    Attributes:
        mean: per-channel mean in 0..1.
        std: per-channel standard deviation in 0..1.

    Raises:
        ValueError: no channels, lengths that differ, or a standard deviation that is not above 0.
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.std or not min(self.std) > 0:
            raise ValueError("mean and std need the same length, and std above 0")
        if not all(map(math.isfinite, (*self.mean, *self.std))):
            raise ValueError("mean and std must be finite")

    def __str__(self) -> str:
        mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (self.mean, self.std))
        return f"mean [{mean}], std [{std}]"

    def for_channels(self, count: int) -> Normalisation:
        """Return that of images with ``count`` channels, for weights that were adapted to as many.

        One channel gets the average of all; more repeat them in order.
        """
        if count == len(self.mean):
            return self
        if count == 1:
            return Normalisation((fmean(self.mean),), (fmean(self.std),))
        order = [channel % len(self.mean) for channel in range(count)]
        return Normalisation(tuple(self.mean[c] for c in order), tuple(self.std[c] for c in order))


@dataclass(frozen=True)
class DatasetInfo:
    """Classes, colours and normalisation of a data set.

    Attributes:
        classes: class names in the order of their indices.
        palette: one (red, green, blue) triple of 0..255 per class.
        mean: per-channel mean in 0..1, in the image's channel order; its length is the channel count.
        std: per-channel standard deviation in 0..1.
        label_ids: value of each class in the data set's own mask files, for submissions; empty where it
            equals the class index.

    Raises:
        ValueError: no class or too many, two of one name, or fields whose lengths disagree.
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
        if any(type(value) is int and not 0 <= value <= 255 for colour in self.palette for value in colour):
            raise ValueError("palette: values of 0 to 255 are expected")
        if self.label_ids and len(self.label_ids) != len(self.classes):
            raise ValueError(f"{len(self.label_ids)} label ids for {len(self.classes)} classes")
        Normalisation(self.mean, self.std)  # checks them

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def in_channels(self) -> int:
        return len(self.mean)

    @property
    def normalisation(self) -> Normalisation:
        """Mean and standard deviation."""
        return Normalisation(self.mean, self.std)

    @property
    def fill_colour(self) -> tuple[int, ...]:
        """The mean colour in 0..255, which paints padding and becomes 0 when normalised."""
        return tuple(round(255 * value) for value in self.mean)

    def palette_array(self) -> np.ndarray:
        """The palette as (num_classes, 3) uint8."""
        return np.asarray(self.palette, dtype=np.uint8).reshape(-1, 3)

    def to_plain(self) -> dict[str, Any]:
        """Return plain types only, for a checkpoint or a JSON file."""
        return {
            "classes": list(self.classes),
            "palette": [list(colour) for colour in self.palette],
            "mean": list(self.mean),
            "std": list(self.std),
            "label_ids": list(self.label_ids),
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> DatasetInfo:
        """Return the object that :meth:`to_plain` was called on.

        Raises:
            KeyError: a fact is missing.
            TypeError: a fact has another type.
            ValueError: a value is out of range.
        """
        number = (int, float)
        for name, kinds in {"classes": (str,), "mean": number, "std": number, "label_ids": (int,)}.items():
            values = plain[name]
            if not isinstance(values, (list, tuple)) or any(type(value) not in kinds for value in values):
                raise TypeError(f"{name}: expected a list of {kinds[-1].__name__}")
        return cls(
            classes=tuple(plain["classes"]),
            palette=tuple((int(r), int(g), int(b)) for r, g, b in plain["palette"]),
            mean=tuple(plain["mean"]),
            std=tuple(plain["std"]),
            label_ids=tuple(plain["label_ids"]),
        )


def normalise(pixels: Tensor, info: DatasetInfo) -> Tensor:
    """Subtract the mean of each channel and divide by its standard deviation.

    Args:
        pixels: (..., W, C) in 0..255; not changed.
        info: mean and standard deviation, on the scale 0..1.

    Returns:
        (..., W, C) float32; the mean colour is 0.
    """
    import torch

    width, channels = pixels.shape[-2:]
    mean, std = _in_pixels(info.mean, pixels.device), _in_pixels(info.std, pixels.device)
    # rows of W * C values: broadcasting over the channels alone is several times slower
    rows = pixels.reshape(-1, width * channels).to(torch.float32, copy=True)
    return rows.sub_(mean.repeat(width)).div_(std.repeat(width)).view(pixels.shape)


def denormalise(values: Tensor, info: DatasetInfo) -> Tensor:
    """Invert :func:`normalise`: (..., W, C) values become uint8 pixels, rounded and clipped."""
    mean, std = _in_pixels(info.mean, values.device), _in_pixels(info.std, values.device)
    return values.float().mul(std).add(mean).round().clamp(0, 255).byte()


@lru_cache
def _in_pixels(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Scale 0..1 to 0..255; the tensor is kept, because a copy to a GPU makes the host wait."""
    import torch

    with torch.inference_mode(False):
        return torch.tensor(values).mul(255).to(device)


def voc_palette(count: int) -> list[tuple[int, int, int]]:
    """Return the colours of classes 0..count-1 by the bit rule of the VOC devkit (Everingham et al., 2010).

    Three bits of the class index at a time become the next lower bits of red, green and blue, so the
    colours of small indices lie far apart.

    Args:
        count: number of colours, 0 to 256.

    Raises:
        ValueError: more than 256, which is the limit of a palette image.
    """
    if not 0 <= count <= 256:
        raise ValueError(f"{count} colours; the VOC rule has 256")
    colours = []
    for index in range(count):
        red = green = blue = 0
        rest = index
        for bit in range(7, -1, -1):
            red |= (rest & 1) << bit
            green |= ((rest >> 1) & 1) << bit
            blue |= ((rest >> 2) & 1) << bit
            rest >>= 3
        colours.append((red, green, blue))
    return colours


def colour_table(info: DatasetInfo) -> np.ndarray:
    """Return the colour of each mask value as (256, 3) uint8.

    Classes have the data set's colours and void (255) the devkit's beige. No mask holds the values between
    them; these have VOC colours.
    """
    table = np.array(voc_palette(256), dtype=np.uint8)
    table[: info.num_classes] = info.palette_array()
    table[IGNORE_INDEX] = VOID_COLOUR
    return table


def class_order(classes: Sequence[str], own: Sequence[str]) -> list[int]:
    """Return the index in ``own`` of each of ``classes``.

    Raises:
        ValueError: the two do not have the same names; the message says ``lacks X and has Y instead`` of ``own``.
    """
    if set(own) != set(classes):
        missing = sorted(set(classes) - set(own)) or ["none"]
        extra = sorted(set(own) - set(classes)) or ["none"]
        raise ValueError(f"lacks {', '.join(missing[:5])} and has {', '.join(extra[:5])} instead")
    return [list(own).index(name) for name in classes]


def swapped_classes(classes: Sequence[str], pairs: Sequence[Sequence[str]]) -> list[int]:
    """Return the class index that each class index becomes in a mirror image.

    Args:
        classes: class names in index order.
        pairs: class names that a mirror image exchanges.

    Raises:
        ValueError: a name is not among ``classes``.
    """
    order = list(range(len(classes)))
    for pair in pairs:
        for name in pair:
            if name not in classes:
                raise ValueError(f"flip_pairs: there is no class '{name}'; choose from: {', '.join(classes)}")
        first, second = (list(classes).index(name) for name in pair)
        order[first], order[second] = second, first
    return order
