"""The base of every data set: checked pairs, one label space, one set of options, seeded draws."""

from __future__ import annotations

import copy
import inspect
import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from base.checks import check_class_names, check_classes, check_split
from base.drawing import Drawing
from base.normalised import Normalised
from base.sample import Described, Sample, SampleKey, check_pair, fingerprint, given_options, sizes_of
from utils.augment.transform import SampleTransform
from utils.augment.warp import Size
from utils.config.annotations import MAY_CHANGE, NonNegativeInt
from utils.config.factory import merged_parameters, refuse
from utils.data.cache import open_cache
from utils.data.labels import ColourTable, LabelTable
from utils.dataset_info import IGNORE_INDEX, IMAGENET_MEAN, IMAGENET_STD, DatasetInfo, normalise, voc_palette
from utils.errors import DataError
from utils.images.header import is_jpeg
from utils.images.masks import read_colour_mask, read_mask
from utils.images.read import read_image

__all__ = ["BaseDataSet", "Sample", "SampleKey"]

logger = logging.getLogger(__name__)


class BaseDataSet(Described, Normalised, Drawing, Dataset[Any]):
    """Base of every data set: a subclass declares the facts below and lists its files.

    Every random draw follows from (seed, epoch, index), so a sample is the same whichever worker makes it.
    The published signature of a subclass lists its own parameters, those below, and the fields of
    :class:`~utils.augment.transform.SampleTransform`; it is the schema of the data set's ``args`` in a config.

    Attributes:
        classes: class names in index order.
        palette: one RGB triple per class; ``None`` takes the VOC colours.
        mean: per-channel mean in 0..1.
        std: per-channel standard deviation in 0..1.
        splits: names that ``split`` may have.
        label_ids: raw mask value of each class; empty where it is the class index.
        void_values: raw mask values without a class. Values in neither are an error.
        files: the samples of the split, filled by :meth:`_set_files`.
        transform: scale, crop and augmentation.

    Args:
        data_dir: root folder of the data set.
        split: name of the part to read.
        cache: keep decoded images: ``ram``: in memory, for threads; ``disk``: in a memory-mapped file in
            the cache folder, shared by all workers and later runs.
        val: validation data: nothing random.
        return_id: ``dataset[i]`` returns the image's name too.
        seed: start of every random draw.
        transform: the other fields of :class:`~utils.augment.transform.SampleTransform`.

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
    hidden_options: ClassVar[Sequence[str]] = ()  # options of a base class that a subclass sets itself

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        parameters = merged_parameters(cls, BaseDataSet, cls.hidden_options, SampleTransform)
        cls.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]

    def __new__(cls, *args: Any, **options: Any) -> Any:
        """Note the arguments, for :meth:`fingerprint`."""
        made: BaseDataSet = super().__new__(cls)
        made._given = given_options(cls.__init__, args, options)
        return made

    def __init__(
        self,
        data_dir: Annotated[str, MAY_CHANGE],
        split: str,
        *,
        cache: Annotated[Literal["ram", "disk"] | None, MAY_CHANGE] = None,
        val: bool = False,
        return_id: bool = False,
        seed: NonNegativeInt = 0,
        **transform: Any,
    ) -> None:
        refuse([*check_split(self.splits, split, ""), *check_classes(self.classes, "")])
        self.root = Path(data_dir)
        self.split = split
        self.return_id = return_id
        self.seed = seed
        self.transform = SampleTransform.for_classes(self.classes, val=val, **transform)
        self.files: list[Sample] = []
        self._set_files()
        self.info = self._make_info()
        self.table = self._make_table()
        self._check_options()
        self.cache = open_cache(cache, self)

    @classmethod
    def check_arguments(cls, args: Mapping[str, Any], path: str) -> list[str]:
        """Return every mistake in the arguments of a config that their types do not show.

        Reads no file. A subclass whose ``splits`` or ``classes`` follow from its arguments overrides this.

        Args:
            args: JSON arguments of the right types, perhaps with those of a loader among them.
            path: JSON path of the object that holds them.

        Returns:
            One line for each mistake, which begins with the JSON path of an argument.
        """
        classes = getattr(cls, "classes", ())
        problems = [*check_classes(classes, path), *check_class_names(classes, args, path)]
        # a constructor of its own may set the splits, unless the class declares them
        declared = cls.splits is not BaseDataSet.splits or cls.__init__ is BaseDataSet.__init__
        if declared and "split" in args:
            problems += check_split(cls.splits, args["split"], path)
        return problems + SampleTransform.check_arguments(args, path)

    # ---- for subclasses -------------------------------------------------------------------------

    @abstractmethod
    def _set_files(self) -> None:
        """Fill :attr:`files` from ``self.root`` and ``self.split``."""

    def _make_table(self) -> LabelTable | ColourTable:
        """Return the class index of each raw mask value; by default as the class attributes say."""
        void = {value: IGNORE_INDEX for value in self.void_values}
        ids = self.label_ids or range(len(self.classes))
        return LabelTable({**void, **{raw: index for index, raw in enumerate(ids)}}, len(self.classes))

    def _read_image(self, sample: Sample, reduce: int = 1) -> np.ndarray:
        """Read (H, W, C) uint8; a JPEG at 1/``reduce`` of its size."""
        return read_image(sample.image, len(self.mean), self.info.fill_colour, reduce=reduce)

    def _read_mask(self, sample: Sample) -> np.ndarray:
        """Read the raw values of a mask, as :attr:`table` takes them; override this for other formats."""
        assert sample.mask is not None
        return (
            read_colour_mask(sample.mask) if isinstance(self.table, ColourTable) else read_mask(sample.mask)
        )

    def _load_data(self, index: int) -> tuple[np.ndarray, np.ndarray, str]:
        """Read an image (H, W, C) uint8, its class indices (H, W) uint8 with void 255, and its name."""
        sample = self.files[index]
        image = self._read_image(sample)
        return image, self._load_label(sample, image.shape[:2]), sample.image_id

    # ---- public interface -----------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Return (image, label), and the name with ``return_id``; for a plain torch ``DataLoader`` too.

        Returns:
            image (C, H, W) float32, normalised; label (H, W) int64, 255 = void.
        """
        item = self.load(SampleKey(0, range(len(self))[index]))
        image = normalise(torch.from_numpy(item.image.copy()), self.info)
        tensors = image.permute(2, 0, 1).contiguous(), torch.from_numpy(item.label.astype(np.int64))
        return (*tensors, item.image_id) if self.return_id else tensors

    def __getitems__(self, keys: Sequence[SampleKey | int]) -> list[Any]:
        """Return the samples of a batch: for our loader's keys, or for the indices of a plain ``DataLoader``."""
        return [self.load(key) if isinstance(key, SampleKey) else self[key] for key in keys]

    def load_checked(self, index: int) -> tuple[np.ndarray, np.ndarray, str]:
        """Return image, class indices and name as they are on disk, with sizes checked.

        Raises:
            DataError: a file is unreadable, or image and mask differ in size.
            LabelError: the mask holds a value that is neither a class nor void.
        """
        image, label, image_id = self._load_data(index)
        check_pair(image, label, self.files[index] if self.files else None)
        return image, label, image_id

    def subset(self, indices: Sequence[int], *, val: bool = False) -> BaseDataSet:
        """Return this data set with some of its samples; with ``val``, full images and nothing random."""
        part = copy.copy(self)
        vars(part).pop("_paste_sources", None)  # they are indices of this data set
        part.files = [self.files[index] for index in indices] if self.files else []
        part.cache = None if self.cache is None else self.cache.part(indices)
        if val:
            part.transform = self.transform.for_validation()
        return part

    def image(self, index: int) -> np.ndarray:
        """Return the image (H, W, C) uint8 of a sample as it is on disk."""
        return self._read_image(self.files[index])

    def label(self, index: int) -> np.ndarray:
        """Return a sample's class indices (H, W) uint8 as on disk, without reading its image if possible."""
        if type(self)._load_data is BaseDataSet._load_data and self.files[index].mask is not None:
            return self._load_label(self.files[index], None)
        return self._load_data(index)[1]

    def fingerprint(self) -> str:
        """Return a digest of all that decoded values follow from: files, mask values, options."""
        shared = merged_parameters(BaseDataSet, BaseDataSet, options=SampleTransform)
        own = {name: value for name, value in self._given.items() if name not in shared}
        facts = f"{self.split} {vars(self.table)} {tuple(self.mean)} {sorted(own.items())}"
        return fingerprint(self.files, f"{type(self).__qualname__} {facts}")

    @property
    def val(self) -> bool:
        """True for validation data."""
        return self.transform.val

    @property
    def crop_size(self) -> Size | None:
        """(height, width) of all samples; ``None`` where they have sizes of their own."""
        return self.transform.output_size

    def groups(self) -> list[str]:
        """Return the group of every sample; a sample without one is a group of its own."""
        return [sample.group or sample.image_id for sample in self.files]

    def sizes(self) -> list[Size | None]:
        """Return (height, width) of each image; ``None`` where only decoding shows it."""
        return sizes_of(self.files) if self.files else [None] * len(self)

    # ---- helpers --------------------------------------------------------------------------------

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
            raise DataError(
                f"{self.root}: the split '{self.split}' has no images", kind="missing", paths=[self.root]
            )
        if self.val and self.crop_size and self.transform.base_size:
            logger.warning("%s: base_size has no effect beside val and crop_size", type(self).__name__)

    def _can_reduce(self, index: int) -> bool:
        """Return whether the label can be read first, so that a JPEG is decoded no larger than needed."""
        if type(self)._load_data is not BaseDataSet._load_data or self.transform.keeps_images:
            return False
        sample = self.files[index]
        return sample.mask is not None and is_jpeg(sample.image)

    def _load_label(self, sample: Sample, size: Size | None) -> np.ndarray:
        """Read a sample's class indices; all void where a split has no labels."""
        if sample.mask is None:
            assert size is not None
            return np.full(size, IGNORE_INDEX, np.uint8)
        return self.table.encode(self._read_mask(sample), str(sample.mask))
