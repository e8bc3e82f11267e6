"""Semantic Boundaries: Hariharan et al., "Semantic contours from inverse detectors", 2011; VOC's classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from base.base_dataloader import BaseDataLoader
from base.base_dataset import BaseDataSet, Sample
from dataloaders.voc import VOCDataSet
from utils.data.pairing import read_list, require_files
from utils.errors import DataError
from utils.images.mat import read_mat


class SBDDataSet(BaseDataSet):
    """``img/ID.jpg`` with ``cls/ID.mat`` (``GTcls.Segmentation``, 0..20) and ``{train,val}.txt``.

    ``data_dir`` is ``benchmark_RELEASE``, its ``dataset``, or the folder that holds it. Unlike VOC's, the
    masks have no void borders.
    """

    classes = VOCDataSet.classes
    splits = ("train", "val", "train_noval")

    def _set_files(self) -> None:
        root = self._find_root()
        names = read_list(root / f"{self.split}.txt")
        self.files = [
            Sample(name, root / "img" / f"{name}.jpg", root / "cls" / f"{name}.mat") for name in names
        ]
        require_files((sample.image for sample in self.files), "images of the list")
        require_files((s.mask for s in self.files if s.mask is not None), "masks of the list")

    def _find_root(self) -> Path:
        for part in ("", "dataset", "benchmark_RELEASE/dataset"):
            if (self.root / part / "cls").is_dir():
                return self.root / part
        message = f"{self.root}: holds no folder with img/ and cls/; set data_dir to that folder"
        raise DataError(message, kind="missing", paths=[self.root])

    def _read_mask(self, sample: Sample) -> np.ndarray:
        assert sample.mask is not None
        return read_mat(sample.mask, "GTcls", "Segmentation")


class SBD(BaseDataLoader):
    """Batches of :class:`SBDDataSet`."""

    dataset_class = SBDDataSet
