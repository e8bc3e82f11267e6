"""Carvana: cars in a studio, 16 views of each (Kaggle, "Carvana Image Masking Challenge", 2017)."""

from __future__ import annotations

from base.base_dataloader import BaseDataLoader
from base.base_dataset import BaseDataSet, Sample
from utils.data.labels import LabelTable
from utils.data.pairing import list_images, pair_by_key, require_folder
from utils.data.splits import split_groups

_VAL_SHARE = 0.2


class CarvanaDataSet(BaseDataSet):
    """``train/ID_VV.jpg`` with ``train_masks/ID_VV_mask.gif``; ``test/`` has no masks: all void.

    ``train`` and ``val`` hold four fifths and one fifth of the cars, with all views of a car in one part.
    ``trainval`` is both.
    """

    classes = ("background", "car")
    palette = ((0, 0, 0), (255, 255, 255))
    splits = ("train", "val", "trainval", "test")

    def _set_files(self) -> None:
        require_folder(self.root, "set data_dir to the folder that holds train/ and train_masks/")
        if self.split == "test":
            self.files = [Sample(path.stem, path, None) for path in list_images(self.root / "test")]
            return
        masks = list_images(self.root / "train_masks")
        pairs = pair_by_key(
            list_images(self.root / "train"), masks, lambda path: path.stem.removesuffix("_mask")
        )
        samples = [Sample(name, image, mask, name.rpartition("_")[0]) for name, image, mask in pairs]
        if self.split != "trainval":
            train, val = split_groups([sample.group for sample in samples], _VAL_SHARE)
            samples = [samples[index] for index in (train if self.split == "train" else val)]
        self.files = samples

    def _make_table(self) -> LabelTable:
        return LabelTable(
            {0: 0, 1: 1, 255: 1}, 2
        )  # the original GIFs hold 0 and 1, converted copies often 0 and 255


class Carvana(BaseDataLoader):
    """Batches of :class:`CarvanaDataSet`."""

    dataset_class = CarvanaDataSet
