"""PASCAL VOC 2012: Everingham et al., "The PASCAL Visual Object Classes Challenge", 2010.

The ``_aug`` lists are those of the Semantic Boundaries data set: Hariharan et al., "Semantic contours
from inverse detectors", 2011.
"""

from __future__ import annotations

from pathlib import Path

from base.base_dataloader import BaseDataLoader
from base.base_dataset import BaseDataSet, Sample
from utils.data.pairing import read_list, require_files
from utils.errors import DataError

_CLASSES = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike "
    "person pottedplant sheep sofa train tvmonitor"
)


class VOCDataSet(BaseDataSet):
    """The folders of the devkit; ``data_dir`` is ``VOC2012``, or contains it or ``VOCdevkit``.

    A line of a list is a bare id, or the paths of an image and of its mask. The masks of bare ids in the
    ``_aug`` splits are in ``SegmentationClassAug``. ``test`` has no masks: all void.
    """

    classes = tuple(_CLASSES.split())
    splits = ("train", "val", "trainval", "test", "train_aug", "trainval_aug")

    def _set_files(self) -> None:
        self.root = self._find_root()
        lines = read_list(self.root / "ImageSets" / "Segmentation" / f"{self.split}.txt")
        self.files = [self._sample(line.split()) for line in lines]
        require_files((sample.image for sample in self.files), "images of the list")
        require_files((s.mask for s in self.files if s.mask is not None), "masks of the list")

    def _find_root(self) -> Path:
        for part in ("", "VOC2012", "VOCdevkit/VOC2012"):
            if (self.root / part / "ImageSets" / "Segmentation").is_dir():
                return self.root / part
        raise DataError(
            f"{self.root}: holds no VOC2012 folder with ImageSets/Segmentation; set data_dir to that folder",
            kind="missing",
            paths=[self.root],
        )

    def _sample(self, words: list[str]) -> Sample:
        if len(words) == 2:
            image, mask = (self.root / word.lstrip("/") for word in words)
            return Sample(image.stem, image, mask)
        name = words[0]
        folder = "SegmentationClassAug" if self.split.endswith("_aug") else "SegmentationClass"
        labelled = self.split != "test"
        image = self.root / "JPEGImages" / f"{name}.jpg"
        return Sample(name, image, self.root / folder / f"{name}.png" if labelled else None)


class VOC(BaseDataLoader):
    """Batches of :class:`VOCDataSet`."""

    dataset_class = VOCDataSet
