"""Meter: pressure gauges with the pointer and the scale of their dials (PaddleX's ``meter_seg``)."""

from __future__ import annotations

from base.base_dataloader import BaseDataLoader
from base.base_dataset import BaseDataSet, Sample
from utils.data.pairing import list_images, pair_by_key, require_folder


class MeterDataSet(BaseDataSet):
    """``images/{split}/NAME.jpg`` with ``annotations/{split}/NAME.png`` of 0, 1 and 2."""

    classes = ("background", "pointer", "scale")
    splits = ("train", "val", "test")

    def _set_files(self) -> None:
        root = require_folder(self.root, "set data_dir to the folder that holds images/ and annotations/")
        images, masks = (list_images(root / part / self.split) for part in ("images", "annotations"))
        self.files = [Sample(name, image, mask) for name, image, mask in pair_by_key(images, masks)]


class Meter(BaseDataLoader):
    """Batches of :class:`MeterDataSet`."""

    dataset_class = MeterDataSet
