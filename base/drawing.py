"""The samples of an epoch: read, transformed, and mixed with others as ``mix`` says."""

from __future__ import annotations

import functools
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from base.crops import CropsByEpoch
from base.sample import Sample, SampleKey, check_pair
from utils.augment.mix import Pair, draw_box, paste_class, quadrants, replace_boxes
from utils.augment.options import ClassPaste
from utils.augment.transform import SampleTransform
from utils.data.batch import LabelledImage
from utils.data.cache import DiskCache, Item, MemoryCache
from utils.data.class_histograms import images_of_classes, mask_histograms, rare_classes
from utils.data.pairing import name_some
from utils.dataset_info import DatasetInfo

logger = logging.getLogger(__name__)

# separate random stream, so that a sample is augmented alike with and without mixes
_MIX_STREAM = 8
_NAMED = 10  # classes that a message lists


class Drawing(CropsByEpoch, ABC):
    """A data set whose samples follow from (seed, epoch, index), other samples mixed into them included."""

    files: list[Sample]
    split: str
    seed: int
    info: DatasetInfo
    cache: MemoryCache | DiskCache | None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def fingerprint(self) -> str: ...

    @abstractmethod
    def label(self, index: int) -> np.ndarray: ...

    @abstractmethod
    def load_checked(self, index: int) -> Item: ...

    @abstractmethod
    def _can_reduce(self, index: int) -> bool: ...

    @abstractmethod
    def _load_label(self, sample: Sample, size: tuple[int, int] | None) -> np.ndarray: ...

    @abstractmethod
    def _read_image(self, sample: Sample, reduce: int = 1) -> np.ndarray: ...

    def load(self, key: SampleKey) -> LabelledImage:
        """Read, check and transform one sample, and mix others into it.

        Args:
            key: the sample, and the epoch that its random draws follow from.

        Raises:
            DataError: a file is unreadable, or image and mask differ in size.
            LabelError: the mask holds a value that is neither a class nor void.
        """
        rng = np.random.default_rng([self.seed, key.epoch, key.index])
        transform = self.transform_of(key.epoch)
        sample = self._draw(key.index % len(self), rng, transform)
        if transform.mixes.names:
            mixing = np.random.default_rng([self.seed, key.epoch, key.index, _MIX_STREAM])
            image, label = self._mix((sample.image, sample.label), key.index % len(self), mixing, transform)
            sample = sample._replace(image=image, label=label)
        image, label = transform.finish(sample.image, sample.label, self.info.fill_colour, rng)
        return sample._replace(image=image, label=label)

    def prepare_mixes(self) -> None:
        """Check that ``mix`` can be applied, and count the masks that it draws from; before workers start.

        Raises:
            ValueError: there is one image only, there are no masks, or none of the classes to paste occurs.
            DataError: a mask cannot be counted.
        """
        if not self.transform.mixes.names:
            return
        self._require_two()
        if self.has_no_masks:
            raise ValueError(f"mix: the split '{self.split}' has no masks; labels are mixed with the images")
        if self.transform.mixes.class_paste is not None:
            sources = self._paste_sources.items()
            counted = [f"{self.info.classes[index]} ({len(images)} images)" for index, images in sources]
            logger.info("class_paste: %s", name_some(counted, _NAMED))

    @property
    def has_no_masks(self) -> bool:
        """True where samples are files, and none of them has a mask."""
        return bool(self.files) and all(sample.mask is None for sample in self.files)

    def _draw(
        self, index: int, rng: np.random.Generator, transform: SampleTransform, around: int | None = None
    ) -> LabelledImage:
        """Read a sample and transform it; ``around`` is the class that a random crop is laid around."""
        if self.cache is not None:
            image, label, image_id = self.cache[index]
            geometry = transform.plan(label, rng, around)
        elif self._can_reduce(index):
            sample = self.files[index]
            label = self._load_label(sample, None)
            geometry = transform.plan(label, rng, around)
            image = self._read_image(sample, geometry.reduction)
            check_pair(image, label, sample, geometry.reduction)
            image_id = sample.image_id
        else:
            image, label, image_id = self.load_checked(index)
            geometry = transform.plan(label, rng, around)
        fill, classes = self.info.fill_colour, self.info.classes
        image, label = transform.apply(image, label, geometry, fill, rng, classes)
        return LabelledImage(image, label, image_id)

    # ---- mixes ----------------------------------------------------------------------------------

    def _mix(self, pair: Pair, index: int, rng: np.random.Generator, transform: SampleTransform) -> Pair:
        """Apply each mix that is drawn; every draw, those of the other samples included, is made from ``rng``."""
        mixes, size = transform.mixes, (pair[1].shape[0], pair[1].shape[1])
        if mixes.mosaic is not None and rng.random() < mixes.mosaic.p:
            row, column = (
                int(length * share) for length, share in zip(size, rng.uniform(0.25, 0.75, 2), strict=True)
            )
            boxes = [quadrants(size, (row, column))[place] for place in rng.permutation(4)[1:]]
            pair = replace_boxes(pair, [(box, self._other(index, rng, transform)) for box in boxes])
        if mixes.cutmix is not None and rng.random() < mixes.cutmix.p:
            box = draw_box(size, mixes.cutmix.area, rng)
            pair = replace_boxes(pair, [(box, self._other(index, rng, transform))])
        if mixes.class_paste is not None and rng.random() < mixes.class_paste.p:
            pair = self._paste(pair, index, rng, transform)
        return pair

    def _other(self, index: int, rng: np.random.Generator, transform: SampleTransform) -> Pair:
        """Draw another sample, transformed by draws of its own."""
        self._require_two()
        other = int(rng.integers(len(self) - 1))
        sample = self._draw(other + (other >= index), rng, transform)
        return sample.image, sample.label

    def _require_two(self) -> None:
        if len(self) < 2:
            raise ValueError("mix: there is 1 image; a mix takes parts of at least 2")

    def _paste(self, pair: Pair, index: int, rng: np.random.Generator, transform: SampleTransform) -> Pair:
        """Paste a class; the pair itself where no other image holds the class that is drawn."""
        sources = self._paste_sources
        chosen = int(rng.choice(list(sources)))
        others = sources[chosen][sources[chosen] != index]
        if not len(others):
            return pair
        sample = self._draw(int(rng.choice(others)), rng, transform, chosen)
        return paste_class(pair, (sample.image, sample.label), chosen)

    @functools.cached_property
    def _paste_sources(self) -> Mapping[int, np.ndarray]:
        """The indices of the images that hold each class to paste.

        Raises:
            ValueError: no image holds one of them.
        """
        options = self.transform.mixes.class_paste
        assert options is not None
        histograms, classes = mask_histograms(self), self.info.classes
        wanted = _wanted_classes(options, classes, rare_classes(histograms, len(classes)))
        images = images_of_classes(histograms, len(classes))
        absent = [classes[index] for index in wanted if not len(images[index])]
        if len(absent) == len(wanted):
            names = name_some(absent, _NAMED)
            raise ValueError(f"mix.class_paste.classes: no image of the split '{self.split}' holds {names}")
        if absent:
            logger.warning(
                "mix.class_paste.classes: no image holds %s; not pasted", name_some(absent, _NAMED)
            )
        return {index: images[index] for index in wanted if len(images[index])}


def _wanted_classes(options: ClassPaste, classes: Sequence[str], rare: Sequence[int]) -> Sequence[int]:
    if options.classes != "rare":
        return [classes.index(name) for name in options.classes]
    if not rare:
        raise ValueError(
            "mix.class_paste.classes: no class is rarer than the others here; name those to paste"
        )
    return rare
