"""The options that say which part of a sample is used, at which scale, and how it is augmented."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from utils.augment.classes import check_flip_pairs, point_of_a_class, swapped_labels
from utils.augment.draws import (
    Ranges,
    blur_image,
    change_colour,
    draw_geometry,
    jitter_label,
    long_side_ratio,
    resized,
    whole_image,
)
from utils.augment.erase import erase
from utils.augment.external import MIRRORING, Albumentations, check_albumentations
from utils.augment.options import Erasing, Mixes, check_mix_classes, check_objects, read_erase, read_mix
from utils.augment.warp import Geometry, Size, fill_outside, size_of, warp_image, warp_label
from utils.config.annotations import Fraction, NonNegativeFloat, PositiveFloat, Side
from utils.config.factory import Problem, join, refuse
from utils.config.parse import Mistakes
from utils.dataset_info import IGNORE_INDEX, swapped_classes

_CROP_TRIES = 10  # draws of a crop before one with too few labelled pixels is taken
# the values that change nothing
_OFF: dict[str, Any] = {item.name: item.default for item in fields(Ranges)}


@dataclass(frozen=True, kw_only=True)
class SampleTransform:
    """Scale, crop and augmentation of an image and its label; the fields are options of every data set.

    The metadata of a field that may be true hold the value that true stands for.

    * Training: the longer side becomes ``base_size`` times a random scale, the image is rotated, a crop of
      ``crop_size`` is cut out at random, mirrored, coloured and blurred.
    * ``augment: false``: the same without anything random: scale 1, the centre crop. Without ``base_size``
      and ``crop_size`` images stay as they are.
    * ``val: true``: full images at their own resolution. With ``crop_size``, as in the template family:
      the shorter side is scaled to it and the centre cut out.

    Args:
        base_size: length of the longer side in pixels at scale 1; ``None`` keeps the image's own.
        crop_size: side of the square crop in pixels, or [height, width]; ``None`` is the full image.
        augment: draw at random; ``None`` is true unless ``val``.
        scale: random ratio to ``base_size``: true is 0.5 to 2, or [lowest, highest]; ``None`` is true
            with a ``crop_size``.
        flip: probability of a mirror image; true is 0.5.
        vertical_flip: probability of an upside-down image; true is 0.5.
        flip_pairs: pairs of class names such as ``["left", "right"]``, whose labels are swapped in a mirror image;
            mirrored test-time augmentation swaps their scores.
        rotate: degrees either way, counter-clockwise as seen: a number, or [lowest, highest]; true is 10.
        elastic: elastic deformation: standard deviation, in pixels of the crop, of the displacements of
            points 64 pixels apart; true is 8.
        grid: stretch or squeeze the rows and columns of cells of 64 pixels by up to this share; true is 0.3.
        label_elastic: as ``elastic``, of the label alone, for masks with uncertain boundaries; true is 3.
        blur: standard deviation of a Gaussian in pixels: true is 0 to 1.5, or [lowest, highest].
        brightness: raise or lower all channels by up to this share of the full range.
        contrast: multiply differences from the mean by a factor of up to 1 +- this.
        saturation: multiply saturation by a factor of up to 1 +- this; RGB images only.
        hue: turn hues by up to this many degrees; RGB images only.
        gamma: [lowest, highest] power of the values in 0..1, above 1 darker; true is 0.6 to 1.6.
        exposure: [lowest, highest] factor of all channels, before gamma; true is 0.5 to 1, which darkens.
        color_p: probability of all changes of colour together, from brightness to exposure.
        albumentations: transforms of that library, ``{"type": ..., "args": {...}}`` each, after all others.
        min_valid: share of labelled pixels that a crop should have; ten tries.
        class_crop: probability that a crop is laid around a pixel of a class drawn from those in the image.
        mix: put parts of other samples into one: ``mosaic``, ``cutmix`` and ``class_paste``, in this order; a list
            of names, or an object such as ``{"cutmix": 0.5, "class_paste": {"p": 0.5, "classes": ["Pole"]}}``.
        erase: random erasing, at the end: a probability, or an object of ``p``, ``area``, ``aspect``, ``target``.
        val: validation data: nothing random.

    Raises:
        ValueError: options that contradict each other.
    """

    base_size: Side | None = None
    crop_size: Side | tuple[Side, Side] | None = None
    augment: bool | None = None
    scale: bool | tuple[PositiveFloat, PositiveFloat] | None = field(
        default=None, metadata={"true": (0.5, 2.0)}
    )
    flip: bool | Fraction = field(default=True, metadata={"true": 0.5})
    vertical_flip: bool | Fraction = field(default=False, metadata={"true": 0.5})
    flip_pairs: list[tuple[str, str]] | None = None
    rotate: bool | NonNegativeFloat | tuple[float, float] = field(
        default=False, metadata={"true": (-10.0, 10.0)}
    )
    elastic: bool | NonNegativeFloat = field(default=False, metadata={"true": 8.0})
    grid: bool | Fraction = field(default=False, metadata={"true": 0.3})
    label_elastic: bool | NonNegativeFloat = field(default=False, metadata={"true": 3.0})
    blur: bool | tuple[NonNegativeFloat, NonNegativeFloat] = field(
        default=False, metadata={"true": (0.0, 1.5)}
    )
    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    saturation: Fraction = 0.0
    hue: NonNegativeFloat = 0.0
    gamma: bool | tuple[PositiveFloat, PositiveFloat] = field(default=False, metadata={"true": (0.6, 1.6)})
    exposure: bool | tuple[PositiveFloat, PositiveFloat] = field(default=False, metadata={"true": (0.5, 1.0)})
    color_p: Fraction = 1.0
    albumentations: list[dict[str, Any]] | None = None
    min_valid: Fraction = 0.0
    class_crop: Fraction = 0.0
    mix: list[str] | dict[str, Any] | None = None
    erase: Fraction | dict[str, Any] | None = None
    val: bool = False

    def __post_init__(self) -> None:
        refuse(self.check_arguments(vars(self), ""))

    @classmethod
    def check_arguments(cls, args: Mapping[str, Any], path: str) -> list[str]:
        """Return every contradiction between options of the right types, one line each with its JSON path.

        Args:
            args: the options given, perhaps among others.
            path: JSON path of the object that holds them.
        """
        problems: list[str] = []
        if args.get("val") and args.get("augment"):
            reason = "augment and val exclude each other: validation data is never augmented"
            problems.append(Problem(join(path, "augment"), reason))
        for name, off in _OFF.items():
            if args.get(name) is None or not isinstance(off, tuple):
                continue
            low, high = _resolve(name, args[name])
            if low > high:
                problems.append(Problem(join(path, name), f"{low} to {high} is no range"))
        problems += check_flip_pairs(args, join(path, "flip_pairs"))
        if args.get("albumentations"):
            problems += check_albumentations(args["albumentations"], join(path, "albumentations"))
        return problems + check_objects(args, path)

    @classmethod
    def for_classes(cls, classes: Sequence[str], **options: Any) -> SampleTransform:
        """Make a transform for data with these classes.

        Raises:
            ValueError: as the constructor, or ``flip_pairs`` or ``mix`` names no class.
        """
        transform = cls(**options)
        swapped_classes(classes, transform.flip_pairs or ())
        refuse(check_mix_classes(classes, transform.mixes, "mix"))
        return transform

    @functools.cached_property
    def ranges(self) -> Ranges:
        """The numbers that the options stand for."""
        written = {name: getattr(self, name) for name in _OFF}
        if self.scale is None:
            written["scale"] = self.crop_size is not None
        return Ranges(**{name: _resolve(name, value) for name, value in written.items()})

    @functools.cached_property
    def output_size(self) -> Size | None:
        """(height, width) of the output; ``None`` where it depends on the image."""
        return None if self.crop_size is None else size_of(self.crop_size)

    @functools.cached_property
    def is_random(self) -> bool:
        """True if anything is drawn at random."""
        return not self.val if self.augment is None else self.augment

    @functools.cached_property
    def mixes(self) -> Mixes:
        """The mixes that ``mix`` describes; none where nothing is drawn at random."""
        return read_mix(self.mix if self.is_random else None, "mix", Mistakes())

    @functools.cached_property
    def erasing(self) -> Erasing | None:
        """The random erasing that ``erase`` describes; ``None`` where nothing is drawn at random."""
        return read_erase(self.erase if self.is_random else None, "erase", Mistakes())

    @property
    def facts(self) -> dict[str, Any]:
        """The facts that a prediction follows; ``flip`` is true if training mirrors images."""
        named = {entry["type"] for entry in self.albumentations or ()}
        flip = self.is_random and (self.ranges.flip > 0 or bool(named & MIRRORING))
        pairs = [list(pair) for pair in self.flip_pairs or ()]
        return {"crop_size": self.output_size, "flip": flip, "flip_pairs": pairs}

    @property
    def keeps_images(self) -> bool:
        """True if images and labels stay as they are."""
        return not self.is_random and self.base_size is None and self.crop_size is None

    def for_validation(self) -> SampleTransform:
        """Return the transform that leaves validation data as it is: full images, nothing random."""
        full = replace(self, base_size=None, crop_size=None)
        return replace(full, val=True, augment=False, mix=None, erase=None)

    def plan(self, label: np.ndarray, rng: np.random.Generator, around: int | None = None) -> Geometry:
        """Decide from its label (H, W) alone which part of a sample is used.

        Args:
            label: class indices in full size.
            rng: source of the draws.
            around: the class around a pixel of which a random crop is laid; ``None``: as ``class_crop`` says.
        """
        size = (label.shape[0], label.shape[1])
        if self.is_random:
            return self._draw(label, size, rng, around)
        if self.val and self.output_size:
            ratio = max(c / s for c, s in zip(self.output_size, size, strict=True))
            return resized(size, ratio, self.output_size)
        if self.keeps_images:
            return whole_image(size)
        return resized(size, long_side_ratio(size, self.base_size), self.output_size)

    def apply(
        self,
        image: np.ndarray,
        label: np.ndarray,
        geometry: Geometry,
        fill: tuple[int, ...],
        rng: np.random.Generator,
        classes: Sequence[str] = (),
    ) -> tuple[np.ndarray, np.ndarray]:
        """Carry out a plan.

        Args:
            image: (H, W, C) uint8, or a copy that was reduced when it was decoded.
            label: (H, W) uint8, in full size.
            geometry: the plan.
            fill: colour of what lies outside the image, one value of 0..255 per channel.
            rng: source of the draws of colour and blur.
            classes: class names in index order, for ``flip_pairs``.

        Returns:
            The image (H', W', C) uint8 and its label (H', W') uint8, void outside the image.
        """
        size = (label.shape[0], label.shape[1])
        image = warp_image(image, geometry, size)
        if self.is_random:
            image = change_colour(image, self.ranges, self.color_p, rng)
        if self.is_random and self.ranges.blur[1] > 0:
            image = blur_image(image, rng.uniform(*self.ranges.blur))
        image = fill_outside(image, geometry, size, fill)
        label = warp_label(label, geometry)
        if self.flip_pairs and geometry.is_mirrored:
            label = swapped_labels(tuple(classes), tuple(map(tuple, self.flip_pairs)))[label]
        if self.is_random and self.ranges.label_elastic:
            label = jitter_label(label, self.ranges.label_elastic, rng)
        if self.is_random and self._external is not None:
            return self._external(image, label, fill, rng)
        return image, label

    def finish(
        self, image: np.ndarray, label: np.ndarray, fill: tuple[int, ...], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Erase at random, after :meth:`apply` and after a sample was mixed with others."""
        return (image, label) if self.erasing is None else erase(image, label, self.erasing, fill, rng)

    @functools.cached_property
    def _external(self) -> Albumentations | None:
        return Albumentations(self.albumentations) if self.albumentations else None

    def _draw(self, label: np.ndarray, size: Size, rng: np.random.Generator, around: int | None) -> Geometry:
        centre = None
        if around is not None:
            centre = point_of_a_class(label, rng, around)
        elif self.class_crop and rng.random() < self.class_crop:
            centre = point_of_a_class(label, rng)
        for _ in range(_CROP_TRIES):
            geometry = draw_geometry(size, self.ranges, rng, self.base_size, self.output_size, centre)
            if not self.min_valid:
                break
            if (warp_label(label, geometry) != IGNORE_INDEX).mean() >= self.min_valid:
                break
        return geometry


_TRUE: dict[str, Any] = {item.name: item.metadata.get("true") for item in fields(SampleTransform)}


def _resolve(name: str, value: bool | float | Sequence[float]) -> Any:
    """Return the number, or the (lowest, highest) pair, that an option stands for.

    True and false are looked up; where a pair is drawn from, a number is a bound on either side.
    """
    if isinstance(value, bool):
        return _TRUE[name] if value else _OFF[name]
    if isinstance(value, (int, float)):
        return (-float(value), float(value)) if isinstance(_OFF[name], tuple) else float(value)
    return float(value[0]), float(value[1])
