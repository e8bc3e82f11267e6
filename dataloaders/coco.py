"""COCO-Stuff: Caesar, Uijlings and Ferrari, "COCO-Stuff: Thing and Stuff Classes in Context", 2018."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np

from base.base_dataloader import BaseDataLoader
from base.base_dataset import BaseDataSet, Sample
from utils.config.annotations import MAY_CHANGE
from utils.config.factory import Problem, join, refuse
from utils.data.pairing import list_images, pair_by_key, read_list, require_files, require_folder
from utils.images.mat import read_mat

_CLASSES = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, "
    "stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, "
    "backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball "
    "bat, baseball glove, skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, knife, "
    "spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, "
    "couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, "
    "microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier, "
    "toothbrush, banner, blanket, branch, bridge, building-other, bush, cabinet, cage, cardboard, carpet, "
    "ceiling-other, ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff, dirt, "
    "door-stuff, fence, floor-marble, floor-other, floor-stone, floor-tile, floor-wood, flower, fog, "
    "food-other, fruit, furniture-other, grass, gravel, ground-other, hill, house, leaves, light, mat, "
    "metal, mirror-stuff, moss, mountain, mud, napkin, net, paper, pavement, pillow, plant-other, "
    "plastic, platform, playingfield, railing, railroad, river, road, rock, roof, rug, salad, sand, sea, "
    "shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw, structural-other, table, "
    "tent, textile-other, towel, tree, vegetable, wall-brick, wall-concrete, wall-other, wall-panel, "
    "wall-stone, wall-tile, wall-wood, water-other, waterdrops, window-blind, window-other, wood"
)
# the annotation leaves out these eleven of the ids 1..182, so that 171 classes remain
_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
_IDS = tuple(number for number in range(1, 183) if number not in _UNUSED)
_LARGE, _SMALL = "CocoStuff164k", "CocoStuff10k"
_SPLITS = {_LARGE: ("train2017", "val2017", "train", "val"), _SMALL: ("train", "test", "all")}


class COCODataSet(BaseDataSet):
    """The 164k edition (PNG, id - 1, 255 = unlabelled) or the 10k edition (``.mat``, id, 0 = unlabelled).

    164k: ``images/{split}/ID.jpg`` with ``annotations/{split}/ID.png``. 10k: ``images``, ``annotations``
    and ``imageLists/{train,test,all}.txt``. No colours were published; they follow VOC's rule.

    Args:
        data_dir: root folder.
        split: ``train2017``, ``val2017`` (also ``train``, ``val``); of 10k ``train``, ``test``, ``all``.
        partition: the edition.
        options: those of :class:`~base.base_dataset.BaseDataSet`.
    """

    classes = tuple(_CLASSES.split(", "))
    splits = ("train2017", "val2017", "train", "val", "test", "all")

    def __init__(
        self,
        data_dir: Annotated[str, MAY_CHANGE],
        split: str,
        partition: Literal["CocoStuff164k", "CocoStuff10k"] = "CocoStuff164k",
        **options: Any,
    ) -> None:
        refuse(_check_split(partition, split, ""))
        self.small = partition == _SMALL
        self.label_ids = _IDS if self.small else tuple(number - 1 for number in _IDS)
        self.void_values = (0,) if self.small else (255,)
        super().__init__(data_dir, split, **options)

    @classmethod
    def check_arguments(cls, args: Mapping[str, Any], path: str) -> list[str]:
        """Return also the mistake of a split of the other edition."""
        own = _check_split(args.get("partition", _LARGE), args["split"], path)
        return own or super().check_arguments(args, path)

    def _set_files(self) -> None:
        root = require_folder(self.root, "set data_dir to the folder that holds images/ and annotations/")
        images, masks = root / "images", root / "annotations"
        if not self.small:
            split = self.split if self.split.endswith("2017") else f"{self.split}2017"
            pairs = pair_by_key(list_images(images / split), list_images(masks / split))
            self.files = [Sample(name, image, mask) for name, image, mask in pairs]
            return
        names = read_list(root / "imageLists" / f"{self.split}.txt")
        self.files = [Sample(name, images / f"{name}.jpg", masks / f"{name}.mat") for name in names]
        require_files((sample.image for sample in self.files), "images of the list")
        require_files((s.mask for s in self.files if s.mask is not None), "masks of the list")

    def _read_mask(self, sample: Sample) -> np.ndarray:
        return read_mat(sample.mask, "S") if self.small and sample.mask else super()._read_mask(sample)


def _check_split(partition: str, split: str, path: str) -> list[str]:
    known = _SPLITS[partition]
    if split in known:
        return []
    return [Problem(join(path, "split"), f"{partition} has no '{split}'; choose from: {', '.join(known)}")]


class COCO(BaseDataLoader):
    """Batches of :class:`COCODataSet`."""

    dataset_class = COCODataSet
