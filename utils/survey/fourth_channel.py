"""The fourth channel of images: transparency, or a band such as near infrared."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from utils.errors import DataError
from utils.images.read import read_image
from utils.images.tiff import bits_per_sample

_SAMPLES = 277  # tag of a TIFF: channels
_WIDE = 16  # bits of a TIFF whose fourth channel is composited whatever its tags say


@dataclass(frozen=True)
class FourthChannel:
    """Contents of a fourth channel, of one image or of several.

    Attributes:
        images: number of images.
        lowest: smallest value, 0..255.
        highest: largest value, 0..255.
        extreme: share of values that are 0 or 255.
        composited: read with 3 channels, it is taken for transparency; otherwise it is dropped.
    """

    images: int
    lowest: int
    highest: int
    extreme: float
    composited: bool

    @property
    def is_transparency(self) -> bool:
        """True where the values are mostly 0 or 255; infrared has values between."""
        return self.extreme > 0.5

    def describe(self, channels: int) -> str:
        """Return what it holds, and how a data set of so many channels reads it."""
        return (
            f"fourth channel in {self.images} images: values {self.lowest}..{self.highest}, "
            f"{self.extreme:.0%} of them 0 or 255: {self._assumption(channels)}"
        )

    def _assumption(self, channels: int) -> str:
        if channels == 4:
            advice = "; it looks like transparency: set channels to 3" if self.is_transparency else ""
            return "read as a band of its own" + advice
        used = "taken for transparency over the mean colour" if self.composited else "dropped"
        advice = "" if self.is_transparency else "; it looks like a band such as infrared: set channels to 4"
        return used + advice


def read_fourth_channel(path: Path) -> FourthChannel | None:
    """Return the contents of the fourth channel of an image; ``None`` for images of fewer or more channels.

    Raises:
        DataError: the file cannot be read.
    """
    composited = _has_fourth(path)
    if composited is None:
        return None
    band = read_image(path, channels=4)[..., 3]
    extreme = float(np.isin(band, (0, 255)).mean())
    return FourthChannel(1, int(band.min()), int(band.max()), extreme, composited)


def summarise_fourth_channels(paths: Iterable[Path]) -> FourthChannel | None:
    """Return the contents of all fourth channels together; files that cannot be read are passed over."""
    found = []
    for path in paths:
        with suppress(DataError, OSError):
            found.append(read_fourth_channel(path))
    parts = [part for part in found if part is not None]
    if not parts:
        return None
    return FourthChannel(
        len(parts),
        min(part.lowest for part in parts),
        max(part.highest for part in parts),
        sum(part.extreme for part in parts) / len(parts),
        any(part.composited for part in parts),
    )


def _has_fourth(path: Path) -> bool | None:
    """Return whether the fourth channel of a file would be composited; ``None`` where it has none."""
    if path.suffix.lower() == ".npy":
        return True if np.load(path, mmap_mode="r", allow_pickle=False).shape[2:] == (4,) else None
    with Image.open(path) as image:
        mode, samples, bits = image.mode, len(image.getbands()), bits_per_sample(image)
        if isinstance(image, TiffImageFile):
            samples = image.tag_v2.get(_SAMPLES, samples)
    if mode not in ("RGB", "RGBA", "RGBX") or samples != 4:
        return None
    return mode == "RGBA" or bits == _WIDE
