"""TianChi: buildings in aerial images (Alibaba Cloud and Datawhale, "Ground Object Segmentation", 2021)."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from base.base_dataloader import BaseDataLoader
from base.base_dataset import BaseDataSet, Sample
from utils.data.pairing import list_images, require_files, require_folder
from utils.data.splits import split_groups
from utils.errors import DataError
from utils.images.header import image_size
from utils.images.rle import PRESETS, decode

_VAL_SHARE = 0.1
_EMPTY = ("", "nan", "NaN")  # codes of an image without buildings


class TianChiDataSet(BaseDataSet):
    """``train/NAME.jpg`` with a run-length code in ``train_mask.csv``; ``test_a/`` has no masks: all void.

    The table has no header: name, tab, runs of building pixels down the columns, counted from 1. ``train``
    and ``val`` are nine tenths and one tenth, drawn by a fixed seed; ``trainval`` is both.
    """

    classes = ("background", "building")
    palette = ((0, 0, 0), (255, 255, 255))
    splits = ("train", "val", "trainval", "test")

    def _set_files(self) -> None:
        root = require_folder(self.root, "set data_dir to the folder that holds train_mask.csv")
        if self.split == "test":
            self.files = [Sample(path.stem, path, None) for path in list_images(root / "test_a")]
            return
        table = root / "train_mask.csv"
        self.codes = _read_codes(table)
        # the table takes the place of each image's mask file
        samples = [Sample(name.rpartition(".")[0], root / "train" / name, table) for name in self.codes]
        require_files((sample.image for sample in samples), "images of train_mask.csv")
        if self.split != "trainval":
            parts = split_groups([sample.image_id for sample in samples], _VAL_SHARE)
            samples = [samples[index] for index in parts[self.split == "val"]]
        self.files = samples

    def _read_mask(self, sample: Sample) -> np.ndarray:
        code = self.codes[sample.image.name]
        try:
            return decode("" if code in _EMPTY else code, image_size(sample.image), PRESETS["tianchi"])
        except DataError as error:
            raise error.at(f"{sample.mask}, {sample.image.name}") from error


def _read_codes(table: Path) -> dict[str, str]:
    """Return the run-length code of each image; empty where the row has none."""
    if not table.is_file():
        raise DataError(f"{table}: no such file; it holds the masks of train/", kind="missing", paths=[table])
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file, delimiter="\t") if row]
    codes = {row[0]: row[1].strip() if len(row) > 1 else "" for row in rows}
    if len(codes) != len(rows):
        raise DataError(f"{table}: a name occurs twice", kind="duplicate", paths=[table])
    return codes


class TianChi(BaseDataLoader):
    """Batches of :class:`TianChiDataSet`."""

    dataset_class = TianChiDataSet
