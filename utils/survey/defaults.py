"""Chooses how to train on a folder of images: crop, batch, passes, loss, and which images belong together.

The choices aim at a good first model in minutes on a small machine. They depend only on what was found in
the folder: how many images, of which sizes, how many classes, how rare.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_CROPS = (256, 512)  # smallest and largest side of a crop, where the images allow it
_BATCH_PIXELS = 8 * 256**2  # of one training step
_STEPS = {True: 600, False: 1600}  # optimizer steps: two classes, more classes
_STEPS_PER_EPOCH = 40  # at least, by passing over a small set several times
_EPOCHS = {True: 4, False: 8}  # at least: of whole pictures, of crops
_LARGE = 0.2  # thickness, as a share of the shorter side, from which a crop shows too little of a thing
_JITTER = 0.2  # of the colours of photos
_RARE = 0.05  # share of the pixels below which one of many classes is weighted
_MEMORY = 2**31  # bytes of decoded images that may stay in memory
_LARGEST_GROUP = 0.15  # share of the images; larger ones are years or folders, and cannot be split well
_NUMBERED = r"^(.+)[-_ .][0-9]+$"  # 16 views of one car: 00087a6bd4dc_01 to _16


@dataclass(frozen=True)
class Recipe:
    """What goes into a config.

    Attributes:
        crop: side of the training crop in pixels.
        batch: images of a training step.
        repeat: passes over the images in one epoch.
        epochs: epochs to train.
        scale: (lowest, highest) random ratio.
        jitter: by how much brightness, contrast and saturation vary.
        loss: name of the loss.
        class_weights: how classes are weighed; ``None`` leaves them alone.
        group: regular expression of the part of a name that a group shares; ``None`` without groups.
        cache: ``"ram"`` where the decoded images fit into a small machine's memory.
    """

    crop: int
    batch: int
    repeat: int
    epochs: int
    scale: tuple[float, float]
    jitter: float
    loss: str
    class_weights: str | None
    group: str | None
    cache: str | None

    def train_options(self, longest: int) -> dict[str, Any]:
        """Arguments of the training loader."""
        options: dict[str, Any] = {
            "batch_size": self.batch, "base_size": longest, "crop_size": self.crop, "augment": True,
            "scale": list(self.scale), "flip": True, "rotate": True, "shuffle": True,
        }  # fmt: skip
        if self.jitter:
            options |= dict.fromkeys(("brightness", "contrast", "saturation"), self.jitter)
        return options | ({"repeat": self.repeat} if self.repeat > 1 else {})


def choose_recipe(
    sizes: Sequence[tuple[int, int]],
    names: Sequence[str],
    shares: Sequence[float],
    channels: int,
    val_share: float,
    thickness: float = 0.0,
) -> Recipe:
    """Choose from what was found.

    Args:
        sizes: (height, width) of the images, or of some of them.
        names: of all images that have masks.
        shares: of each class among the labelled pixels.
        channels: of the images.
        val_share: share of the images that is kept for validation.
        thickness: of the things in the images, as a share of the shorter side.
    """
    height, width = middle_size(sizes)
    side = min(height, width)
    smallest, largest = _CROPS
    # of thin things half a picture shows what they look like, at a quarter of the cost; a large one has to be told
    # from what surrounds it
    large = thickness >= _LARGE
    crop = max(min(side if large else max(side // 2, smallest), largest, side) // 32 * 32, 32)
    batch = min(max(_BATCH_PIXELS // crop**2, 2), 16)
    images = max(round(len(names) * (1 - val_share)), 1)
    repeat = max(round(_STEPS_PER_EPOCH * batch / images), 1)
    steps = max(images * repeat // batch, 1)
    binary = len(shares) <= 2
    return Recipe(
        crop=crop,
        batch=batch,
        repeat=repeat,
        epochs=max(-(-_STEPS[binary] // steps), _EPOCHS[large]),
        # pictures of one size come from one camera or microscope: things do not vary much in size
        scale=(0.8, 1.25) if len(set(sizes)) == 1 else (0.5, 2.0),
        jitter=_JITTER if large and channels == 3 else 0.0,
        loss="CE_DiceLoss" if binary else "CrossEntropyLoss2d",
        class_weights="median" if not binary and min(shares) < _RARE else None,
        group=find_group(names),
        cache="ram" if len(names) * height * width * (channels + 1) < _MEMORY else None,
    )


def middle_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Median (height, width)."""
    heights, widths = (sorted(size[axis] for size in sizes) for axis in (0, 1))
    return heights[len(heights) // 2], widths[len(widths) // 2]


def find_group(names: Sequence[str]) -> str | None:
    """A regular expression of what the names of a group share; ``None`` where they are not in groups.

    Names that end in a number count as groups where what stands before it differs and mostly occurs more
    than once: views of one object, slices of one volume. Split at random, the same object would be in
    training and in validation.
    """
    matches = [re.match(_NUMBERED, name) for name in names]
    counts = Counter(match.group(1) for match in matches if match)
    if not all(matches) or len(counts) > len(names) / 2 or max(counts.values()) > _LARGEST_GROUP * len(names):
        return None
    return _NUMBERED
