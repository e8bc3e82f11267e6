"""What every data set promises: checked pairs, one label space, one set of options, seeded draws."""

from __future__ import annotations

import copy
import inspect
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from base.sample import Sample, SampleKey, check_pair, fingerprint
from utils.augment.draws import Ranges
from utils.augment.external import Albumentations
from utils.augment.transform import Transform, as_range, as_size
from utils.augment.warp import Size
from utils.config.annotations import Fraction, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from utils.config.factory import merged_parameters
from utils.data.batch import LabelledImage
from utils.data.cache import open_cache
from utils.data.labels import ColourTable, LabelTable
from utils.dataset_info import IGNORE_INDEX, IMAGENET_MEAN, IMAGENET_STD, DatasetInfo, normalise, voc_palette
from utils.errors import DataError
from utils.images.header import is_jpeg
from utils.images.masks import read_colour_mask, read_mask
from utils.images.read import read_image

__all__ = ["BaseDataSet", "Sample", "SampleKey"]

logger = logging.getLogger(__name__)


class BaseDataSet(Dataset, ABC):
    """Base of every data set: a subclass declares the facts below and lists its files.

    Everything random follows from (seed, epoch, index), so a sample is the same whichever worker makes it.

    * Training: the longer side becomes ``base_size`` times a random scale, the image is rotated, a crop of
      ``crop_size`` is cut out at random, mirrored, coloured and blurred.
    * ``augment: false``: the same without anything random: scale 1, the centre crop. Without ``base_size``
      and ``crop_size`` images stay as they are.
    * ``val: true``: whole images at their own resolution. With ``crop_size``, as in the template family:
      the shorter side is scaled to it and the centre cut out.

    Attributes:
        classes: class names in index order.
        palette: one RGB triple per class; ``None`` takes the VOC colours.
        mean: per-channel mean in 0..1.
        std: per-channel standard deviation in 0..1.
        splits: names that ``split`` may have.
        label_ids: raw mask value of each class; empty where it is the class index.
        void_values: raw mask values without a class. Values in neither are an error.
        files: the samples of the split, filled by :meth:`_set_files`.

    Args:
        data_dir: root folder of the data set.
        split: which part.
        base_size: length of the longer side in pixels at scale 1; ``None`` keeps the image's own.
        crop_size: side of the square crop in pixels, or [height, width]; ``None`` is the whole image.
        augment: draw at random; ``None`` is true unless ``val``.
        scale: random ratio to ``base_size``: true is 0.5 to 2, or [lowest, highest]; ``None`` is true
            with a ``crop_size``.
        flip: probability of a mirror image; true is 0.5.
        vertical_flip: probability of an upside-down image; true is 0.5.
        rotate: degrees either way; true is 10, or [lowest, highest].
        elastic: bend the crop: standard deviation, in its pixels, of the displacements of points 64 pixels
            apart; true is 8.
        grid: stretch or squeeze the rows and columns of cells of 64 pixels by up to this share; true is 0.3.
        blur: standard deviation of a Gaussian in pixels: true is 0 to 1.5, or [lowest, highest].
        brightness: all channels are raised or lowered by up to this share of the full range.
        contrast: differences are changed by a factor of up to 1 +- this.
        saturation: the same for saturation; RGB images only.
        hue: hues are turned by up to this many degrees; RGB images only.
        albumentations: transforms of that library, ``{"type": ..., "args": {...}}`` each, after ours.
        min_valid: share of labelled pixels that a crop should have; ten tries.
        class_crop: probability that a crop is laid around a pixel of a class drawn from those in the image.
        cache: keep decoded images: ``ram``: in memory, for threads; ``disk``: in a memory-mapped file in
            the cache folder, shared by all workers and later runs.
        val: validation data: nothing random.
        return_id: ``dataset[i]`` returns the image's name too.
        seed: start of every draw.

    Raises:
        ValueError: options that contradict each other.
        DataError: a missing folder, an empty split, an image without its mask.
    """

    classes: Sequence[str]
    palette: Sequence[tuple[int, int, int]] | None = None
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    splits: Sequence[str] = ("train", "val")
    label_ids: Sequence[int] = ()
    void_values: Sequence[int] = (IGNORE_INDEX,)
    hidden_options: ClassVar[Sequence[str]] = ()  # options of a base that a subclass sets itself

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        parameters = merged_parameters(cls, BaseDataSet, cls.hidden_options)
        cls.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]

    def __init__(
        self,
        data_dir: str,
        split: str,
        base_size: PositiveInt | None = None,
        crop_size: PositiveInt | tuple[PositiveInt, PositiveInt] | None = None,
        augment: bool | None = None,
        scale: bool | tuple[PositiveFloat, PositiveFloat] | None = None,
        flip: bool | Fraction = True,
        vertical_flip: bool | Fraction = False,
        rotate: bool | NonNegativeFloat | tuple[float, float] = False,
        elastic: bool | NonNegativeFloat = False,
        grid: bool | Fraction = False,
        blur: bool | tuple[NonNegativeFloat, NonNegativeFloat] = False,
        brightness: Fraction = 0.0,
        contrast: Fraction = 0.0,
        saturation: Fraction = 0.0,
        hue: NonNegativeFloat = 0.0,
        albumentations: list[dict[str, Any]] | None = None,
        min_valid: Fraction = 0.0,
        class_crop: Fraction = 0.0,
        cache: Literal["ram", "disk"] | None = None,
        val: bool = False,
        return_id: bool = False,
        seed: NonNegativeInt = 0,
    ) -> None:
        if split not in self.splits:
            raise ValueError(f"split: there is no '{split}'; choose from: {', '.join(self.splits)}")
        if val and augment:
            raise ValueError("augment and val exclude each other: validation data is never augmented")
        self.root = Path(data_dir)
        self.split = split
        ranges = Ranges(
            scale=as_range(crop_size is not None if scale is None else scale, (0.5, 2.0), (1.0, 1.0)),
            rotate=as_range(rotate, (-10.0, 10.0), (0.0, 0.0)),
            flip=0.5 if flip is True else float(flip),
            vertical_flip=0.5 if vertical_flip is True else float(vertical_flip),
            blur=as_range(blur, (0.0, 1.5), (0.0, 0.0)),
            brightness=brightness,
            contrast=contrast,
            saturation=saturation,
            hue=hue,
            elastic=8.0 if elastic is True else float(elastic),
            grid=0.3 if grid is True else float(grid),
        )
        self.transform = Transform(
            ranges=ranges,
            base_size=base_size,
            crop_size=as_size(crop_size),
            augment=not val if augment is None else augment,
            val=val,
            min_valid=min_valid,
            class_crop=class_crop,
        )
        if len(self.classes) == 1:
            raise ValueError(
                f"classes: only '{self.classes[0]}', which leaves nothing to tell it from; name the background "
                "too, as the first (arch.args.num_classes: 1 tells the two apart by one logit)"
            )
        self.return_id = return_id
        self.seed = seed
        self.files: list[Sample] = []
        self._set_files()
        self.info = self._make_info()
        self.table = self._make_table()
        self._check_options()
        if albumentations:
            external = Albumentations(albumentations, self.info.fill_colour)
            self.transform = replace(self.transform, external=external)
        self.cache = open_cache(cache, self)

    # ---- what a subclass says -------------------------------------------------------------------

    @abstractmethod
    def _set_files(self) -> None:
        """Fill :attr:`files` from ``self.root`` and ``self.split``."""

    def _make_table(self) -> LabelTable | ColourTable:
        """What each raw value of a mask means. The default follows the class facts."""
        void = {value: IGNORE_INDEX for value in self.void_values}
        ids = self.label_ids or range(len(self.classes))
        return LabelTable({**void, **{raw: index for index, raw in enumerate(ids)}}, len(self.classes))

    def _read_image(self, sample: Sample, reduce: int = 1) -> np.ndarray:
        """(H, W, C) uint8; a JPEG at 1/``reduce`` of its size."""
        return read_image(sample.image, len(self.mean), self.info.fill_colour, reduce=reduce)

    def _read_mask(self, sample: Sample) -> np.ndarray:
        """The raw values of a mask, as :attr:`table` takes them; override it for other formats."""
        assert sample.mask is not None
        return (
            read_colour_mask(sample.mask) if isinstance(self.table, ColourTable) else read_mask(sample.mask)
        )

    def _load_data(self, index: int) -> tuple[np.ndarray, np.ndarray, str]:
        """Image (H, W, C) uint8, class indices (H, W) uint8 with void 255, and name."""
        sample = self.files[index]
        image = self._read_image(sample)
        return image, self._load_label(sample, image.shape[:2]), sample.image_id

    # ---- what everybody uses --------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """(image, label), and the name with ``return_id``; for a plain torch ``DataLoader`` too.

        Returns:
            image (C, H, W) float32, normalised; label (H, W) int64, 255 = void.
        """
        item = self.load(SampleKey(0, range(len(self))[index]))
        image = normalise(torch.from_numpy(item.image.copy()), self.info)
        tensors = (
            image.permute(2, 0, 1).contiguous(),
            torch.from_numpy(item.label.astype(np.int64)),
        )
        return (*tensors, item.image_id) if self.return_id else tensors

    def __getitems__(self, keys: Sequence[SampleKey]) -> list[LabelledImage]:
        """The samples of a batch; called by the loader's workers."""
        return [self.load(key) for key in keys]

    def load(self, key: SampleKey) -> LabelledImage:
        """Read, check and transform one sample.

        Raises:
            DataError: a file is unreadable, or image and mask differ in size.
            LabelError: the mask holds a value that is neither a class nor void.
        """
        rng = np.random.default_rng([self.seed, key.epoch, key.index])
        index = key.index % len(self)
        if self.cache is not None:
            image, label, image_id = self.cache[index]
            geometry = self.transform.plan(label, rng)
        elif self._can_reduce(index):
            sample = self.files[index]
            label = self._load_label(sample, None)
            geometry = self.transform.plan(label, rng)
            image = self._read_image(sample, geometry.reduction)
            check_pair(image, label, sample, geometry.reduction)
            image_id = sample.image_id
        else:
            image, label, image_id = self.load_checked(index)
            geometry = self.transform.plan(label, rng)
        image, label = self.transform.apply(image, label, geometry, self.info.fill_colour, rng)
        return LabelledImage(image, label, image_id)

    def load_checked(self, index: int) -> tuple[np.ndarray, np.ndarray, str]:
        """Image, class indices and name as they are on disk, of the same size.

        Raises:
            DataError: as :meth:`load`.
        """
        image, label, image_id = self._load_data(index)
        check_pair(image, label, self.files[index] if self.files else None)
        return image, label, image_id

    def subset(self, indices: Sequence[int], *, val: bool = False) -> BaseDataSet:
        """The same data set with some of its samples; with ``val`` whole images, nothing random."""
        part = copy.copy(self)
        part.files = [self.files[index] for index in indices] if self.files else []
        part.cache = None if self.cache is None else self.cache.part(indices)
        if val:
            part.transform = self.transform.for_validation()
        return part

    def label(self, index: int) -> np.ndarray:
        """Class indices (H, W) uint8 of a sample as it is on disk; without reading its image if possible."""
        if type(self)._load_data is BaseDataSet._load_data and self.files[index].mask is not None:
            return self._load_label(self.files[index], None)
        return self._load_data(index)[1]

    def fingerprint(self) -> str:
        """Changes when a file of the data set, its size or time, or the meaning of mask values does."""
        return fingerprint(self.files, f"{type(self).__qualname__} {self.split} {vars(self.table)}")

    @property
    def val(self) -> bool:
        """Whether this is validation data."""
        return self.transform.val

    @property
    def crop_size(self) -> Size | None:
        """(height, width) of all samples; ``None`` where they have sizes of their own."""
        return self.transform.crop_size

    def groups(self) -> list[str]:
        """The group of every sample; a sample without one is a group of its own."""
        return [sample.group or sample.image_id for sample in self.files]

    # ---- parts ----------------------------------------------------------------------------------

    def _make_info(self) -> DatasetInfo:
        colours = self.palette or voc_palette(len(self.classes))
        return DatasetInfo(
            classes=tuple(self.classes),
            palette=tuple((int(r), int(g), int(b)) for r, g, b in colours),
            mean=tuple(self.mean),
            std=tuple(self.std),
            label_ids=tuple(self.label_ids),
        )

    def _check_options(self) -> None:
        if not len(self):
            raise DataError(f"{self.root}: the split '{self.split}' has no images")
        if self.val and self.crop_size and self.transform.base_size:
            logger.warning("%s: base_size has no effect beside val and crop_size", type(self).__name__)

    def _can_reduce(self, index: int) -> bool:
        """Whether the label can be read first, so that a JPEG need only be decoded as large as needed."""
        if type(self)._load_data is not BaseDataSet._load_data or self.transform.keeps_whole:
            return False
        sample = self.files[index]
        return sample.mask is not None and is_jpeg(sample.image)

    def _load_label(self, sample: Sample, size: Size | None) -> np.ndarray:
        """Class indices of a sample; all void where a split has no labels."""
        if sample.mask is None:
            assert size is not None
            return np.full(size, IGNORE_INDEX, np.uint8)
        return self.table.encode(self._read_mask(sample), str(sample.mask))
