"""A synthetic data set, drawn as it is needed: the same image for the same index."""

from __future__ import annotations

from typing import Annotated, Any, cast

import cv2
import numpy as np

from base.base_dataloader import BaseDataLoader
from base.base_dataset import BaseDataSet
from utils.augment.warp import Size
from utils.config.annotations import Copies, Range, Side
from utils.dataset_info import IGNORE_INDEX

_BITS = 4  # cv2 draws at sub-pixel places, in sixteenths
_CIRCLE, _SQUARE, _TRIANGLE, _STAR, _RING, _CROSS = range(1, 7)
_IMAGES = {"train": 512, "val": 128, "test": 128}


class ShapesDataSet(BaseDataSet):
    """Overlapping anti-aliased shapes on textured backgrounds, with void borders as in VOC.

    The class of a shape is its form; colours are random. The splits share no image.

    Args:
        split: ``train``, ``val`` or ``test``.
        num_images: number of images of the split; ``None`` is 512 for ``train``, else 128.
        image_size: side of the square images in pixels.
        num_shapes: kinds of shapes: the first of circle, square, triangle, star, ring and cross.
        options: those of :class:`~base.base_dataset.BaseDataSet`.
    """

    classes: tuple[str, ...] = ("background", "circle", "square", "triangle", "star", "ring", "cross")
    splits = tuple(_IMAGES)
    hidden_options = ("data_dir",)

    def __init__(
        self,
        split: str,
        num_images: Copies | None = None,
        image_size: Side = 96,
        num_shapes: Annotated[int, Range(1, _CROSS)] = _CROSS,
        **options: Any,
    ) -> None:
        self.num_images = num_images or _IMAGES.get(split, 0)
        self.image_size = image_size
        self.classes = type(self).classes[: num_shapes + 1]
        self.indices: range | list[int] = range(self.num_images)
        super().__init__("", split, **options)

    def _set_files(self) -> None:
        """Leave the list empty: images are drawn, not read."""

    def __len__(self) -> int:
        return len(self.indices)

    def groups(self) -> list[str]:
        return [f"{index:06d}" for index in self.indices]

    def sizes(self) -> list[Size | None]:
        return [(self.image_size, self.image_size)] * len(self)

    def fingerprint(self) -> str:
        kinds = len(self.classes) - 1
        fewer = f" {kinds}" if kinds < _CROSS else ""  # caches of earlier versions hold all kinds
        return f"shapes {self.split} {self.image_size} {list(self.indices)}{fewer}"

    def subset(self, indices: Any, *, val: bool = False) -> BaseDataSet:
        part = cast(ShapesDataSet, super().subset(indices, val=val))
        part.indices = [self.indices[index] for index in indices]
        return part

    def _load_data(self, index: int) -> tuple[np.ndarray, np.ndarray, str]:
        number = self.indices[index]
        rng = np.random.default_rng([self.splits.index(self.split), number])
        image, label = draw_shapes(rng, self.image_size, len(self.classes))
        return image, label, f"{self.split}_{number:06d}"


def draw_shapes(rng: np.random.Generator, size: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw an image (size, size, 3) uint8 and its label (size, size) uint8.

    Args:
        rng: source of the draws.
        size: side in pixels.
        num_classes: number of classes, background included; shapes are drawn from the others.
    """
    image = _texture(rng, size, rng.integers(40, 216, 3))
    label = np.zeros((size, size), np.uint8)
    placed: list[tuple[float, float, float]] = []
    for _ in range(int(rng.integers(2, 5))):
        radius = rng.uniform(0.15, 0.26) * size
        x, y = rng.uniform(0.12 * size, 0.88 * size, 2)
        # shapes may overlap, but must not hide each other
        if all(np.hypot(x - a, y - b) > 0.75 * (radius + r) for a, b, r in placed):
            placed.append((x, y, radius))
            _paint(rng, image, label, int(rng.integers(1, num_classes)), (x, y), radius)
    return image, label


def _texture(rng: np.random.Generator, size: int, colour: np.ndarray) -> np.ndarray:
    """Draw a colour (3,) with slow changes and fine grain as (size, size, 3) uint8."""
    slow = rng.integers(-40, 41, (5, 5, 3)).astype(np.float32)
    grain = rng.integers(-12, 13, (size, size, 1), dtype=np.int16)
    field = cv2.resize(slow, (size, size), interpolation=cv2.INTER_CUBIC) + grain + colour
    pixels: np.ndarray = np.clip(field, 0, 255).astype(np.uint8)
    return pixels


def _paint(
    rng: np.random.Generator,
    image: np.ndarray,
    label: np.ndarray,
    kind: int,
    centre: tuple[float, float],
    radius: float,
) -> None:
    """Draw a shape over an image and its label in place, with a void border."""
    outlines = [outline + centre for outline in _outlines(kind, radius, rng.uniform(0, 2 * np.pi))]
    points = [np.rint(outline * (1 << _BITS)).astype(np.int32) for outline in outlines]
    cover = np.zeros(label.shape, np.uint8)
    cv2.fillPoly(cover, points, 255, cv2.LINE_AA, _BITS)
    rim = np.zeros(label.shape, np.uint8)
    cv2.polylines(rim, points, True, 255, 1, cv2.LINE_8, _BITS)
    below = image[cover > 0].mean(axis=0)
    colour = rng.integers(0, 256, 3)
    while np.abs(colour - below).sum() < 120:  # the shape must be visible
        colour = rng.integers(0, 256, 3)
    shade = _texture(rng, len(label), colour)
    weight = cover[..., None].astype(np.uint16)
    image[:] = (shade * weight + image * (255 - weight)) // 255
    label[cover > 127] = kind
    label[rim > 0] = IGNORE_INDEX


def _outlines(kind: int, radius: float, angle: float) -> list[np.ndarray]:
    """Return closed polygons (K, 2) about the origin; a second one inside the first is a hole."""
    if kind == _CROSS:
        arm = 0.34
        quarter = np.array([[1, -arm], [1, arm], [arm, arm]])
        turns = [np.array([[0, -1], [1, 0]])] * 4
        corners, part = [], quarter
        for turn in turns:
            corners.append(part)
            part = part @ turn.T
        cosine, sine = np.cos(angle), np.sin(angle)
        return [radius * np.concatenate(corners) @ np.array([[cosine, sine], [-sine, cosine]])]
    if kind == _RING:
        return [_star(radius, [1.0], 40, angle), _star(radius, [0.55], 40, angle)]
    count, radii = {
        _CIRCLE: (40, [0.95]),
        _SQUARE: (4, [1.1]),
        _TRIANGLE: (3, [1.2]),
        _STAR: (10, [1.15, 0.5]),
    }[kind]
    return [_star(radius, radii, count, angle)]


def _star(radius: float, radii: list[float], count: int, angle: float) -> np.ndarray:
    """Return (count, 2): corners at even angles whose distances from the centre alternate."""
    turns = angle + 2 * np.pi * np.arange(count) / count
    directions = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    corners: np.ndarray = radius * np.resize(radii, count)[:, None] * directions
    return corners


class Shapes(BaseDataLoader):
    """Batches of :class:`ShapesDataSet`."""

    dataset_class = ShapesDataSet
