"""Clothing Co-Parsing: Yang, Luo and Lin, "Clothing Co-Parsing by Joint Image Segmentation and Labeling", 2014."""

from __future__ import annotations

import numpy as np

from base.base_dataloader import BaseDataLoader
from base.base_dataset import BaseDataSet, Sample
from utils.data.pairing import list_images, pair_by_key, require_folder
from utils.data.splits import split_groups
from utils.images.mat import read_mat

_CLASSES = (
    "null, accessories, bag, belt, blazer, blouse, bodysuit, boots, bra, bracelet, cape, cardigan, clogs, "
    "coat, dress, earrings, flats, glasses, gloves, hair, hat, heels, hoodie, intimate, jacket, jeans, "
    "jumper, leggings, loafers, necklace, panties, pants, pumps, purse, ring, romper, sandals, scarf, "
    "shirt, shoes, shorts, skin, skirt, sneakers, socks, stockings, suit, sunglasses, sweater, "
    "sweatshirt, swimwear, t-shirt, tie, tights, top, vest, wallet, watch, wedges"
)
_VAL_SHARE = 0.2


class ClothesDataSet(BaseDataSet):
    """``photos/NNNN.jpg`` with ``annotations/pixel-level/NNNN.mat``, whose ``groundtruth`` holds 0..58.

    About half of the images have no such file and are left out. There is no official split: ``train`` and
    ``val`` are drawn by a fixed seed, ``trainval`` is both.
    """

    classes = tuple(_CLASSES.split(", "))
    splits = ("train", "val", "trainval")
    void_values = ()

    def _set_files(self) -> None:
        root = require_folder(self.root, "set data_dir to the folder that holds photos/")
        masks = list_images(root / "annotations" / "pixel-level", (".mat",))
        labelled = {path.stem for path in masks}
        photos = [path for path in list_images(root / "photos") if path.stem in labelled]
        samples = [Sample(name, image, mask) for name, image, mask in pair_by_key(photos, masks)]
        if self.split != "trainval":
            parts = split_groups([sample.image_id for sample in samples], _VAL_SHARE)
            samples = [samples[index] for index in parts[self.split == "val"]]
        self.files = samples

    def _read_mask(self, sample: Sample) -> np.ndarray:
        assert sample.mask is not None
        return read_mat(sample.mask, "groundtruth")


class Clothes(BaseDataLoader):
    """Batches of :class:`ClothesDataSet`."""

    dataset_class = ClothesDataSet
