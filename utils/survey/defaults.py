"""Defaults for training on a folder of images: crop, batch, passes, loss, and groups of images.

They aim at a good first model in minutes on a small machine, and depend only on the contents of the
folder: the number and sizes of the images, the number of classes and their frequencies.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_SMALL_CROPS = {True: 192, False: 256}  # smallest side of a crop: two classes, more classes
_PARTS = {True: 3, False: 2}  # crops per side of an image
_LARGE_CROP = 512  # largest side of a crop
_BATCH = 4  # small crops of a training step; at most so many pixels of others
_STEPS = {True: 600, False: 1600}  # optimizer steps: two classes, more classes
_STEPS_PER_EPOCH = 40  # at least, by several passes over a small set
_EPOCHS = {True: 4, False: 8}  # at least: of whole images, of crops
_LARGE = 0.2  # objects thicker than this share of the shorter side do not fit in a crop
_JITTER = 0.2  # of the colours of photos
_RARE = 0.05  # share of the pixels below which one of many classes is weighted
_MEMORY = 2**31  # bytes of decoded images that may stay in memory
_LARGEST_GROUP = 0.15  # share of the images; larger groups are years or folders, and cannot be split well
_NUMBERED = r"^(.+)[-_ .][0-9]+$"  # 16 views of one car: 00087a6bd4dc_01 to _16
_FOLDER = r"^(.+)/"  # images of one patient, sequence or place


@dataclass(frozen=True)
class TrainingDefaults:
    """Values for a config.

    Attributes:
        crop: side of the training crop in pixels.
        batch: images of a training step.
        repeat: passes over the images in one epoch.
        epochs: epochs to train.
        scale: (lowest, highest) random ratio.
        jitter: largest random change of brightness, contrast and saturation, 0..1.
        loss: name of the loss.
        class_weights: formula of the class weights; ``None`` without weights.
        group: regular expression for the part of a name that a group shares; ``None`` without groups.
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
        """Return arguments of the training loader.

        Args:
            longest: longer side of the images in pixels.
        """
        options: dict[str, Any] = {
            "batch_size": self.batch, "base_size": longest, "crop_size": self.crop, "augment": True,
            "scale": list(self.scale), "flip": True, "rotate": True, "shuffle": True,
        }  # fmt: skip
        if self.jitter:
            options |= dict.fromkeys(("brightness", "contrast", "saturation"), self.jitter)
        return options | ({"repeat": self.repeat} if self.repeat > 1 else {})


def choose_defaults(
    sizes: Sequence[tuple[int, int]],
    names: Sequence[str],
    shares: Sequence[float],
    channels: int,
    val_share: float,
    thickness: float = 0.0,
) -> TrainingDefaults:
    """Choose how to train on a folder.

    Args:
        sizes: (height, width) of the images, or of some of them.
        names: names of all images that have masks.
        shares: share of each class among the labelled pixels.
        channels: channels of the images.
        val_share: share of the images that is kept for validation.
        thickness: thickness of the objects, as a share of the shorter side of the images.
    """
    height, width = middle_size(sizes)
    large, binary = thickness >= _LARGE, len(shares) <= 2
    crop = _choose_crop(min(height, width), large, binary)
    batch = min(max(_BATCH * _SMALL_CROPS[binary] ** 2 // crop**2, 2), 16)
    images = max(round(len(names) * (1 - val_share)), 1)
    repeat = max(round(_STEPS_PER_EPOCH * batch / images), 1)
    steps = max(images * repeat // batch, 1)
    return TrainingDefaults(
        crop=crop,
        batch=batch,
        repeat=repeat,
        epochs=max(-(-_STEPS[binary] // steps), _EPOCHS[large]),
        # images of one size come from one camera or microscope: objects do not vary much in size
        scale=(0.8, 1.25) if len(set(sizes)) == 1 else (0.5, 2.0),
        jitter=_JITTER if large and channels == 3 else 0.0,
        loss="CE_DiceLoss" if binary else "CrossEntropyLoss2d",
        class_weights="median" if not binary and min(shares) < _RARE else None,
        group=find_group(names),
        cache="ram" if len(names) * height * width * (channels + 1) < _MEMORY else None,
    )


def middle_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the median height and the median width."""
    heights, widths = (sorted(size[axis] for size in sizes) for axis in (0, 1))
    return heights[len(heights) // 2], widths[len(widths) // 2]


def find_group(names: Sequence[str]) -> str | None:
    """Return a regular expression for what the names of a group share; ``None`` without groups.

    Names that end in a number form groups where the parts before the number differ, and most of them
    occur more than once: views of one object, slices of one volume. A random split of such images would
    put the same object into training and into validation.
    """
    folders = Counter(name.rpartition("/")[0] for name in names)
    if (
        "" not in folders
        and 1 < len(folders) < len(names)
        and max(folders.values()) <= _LARGEST_GROUP * len(names)
    ):
        return _FOLDER
    matches = [re.match(_NUMBERED, name) for name in names]
    counts = Counter(match.group(1) for match in matches if match)
    if not all(matches) or len(counts) > len(names) / 2 or max(counts.values()) > _LARGEST_GROUP * len(names):
        return None
    return _NUMBERED


def _choose_crop(side: int, large: bool, binary: bool) -> int:
    """Return the side of the crop, a multiple of 32, for images of this shorter side.

    One kind of thin structure is recognisable in a third of the image, at a ninth of the cost, and several in
    half of it; large objects need their surroundings.
    """
    wanted = side if large else max(side // _PARTS[binary], _SMALL_CROPS[binary])
    return max(min(wanted, _LARGE_CROP, side) // 32 * 32, 32)
