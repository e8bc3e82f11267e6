"""Freiburg Forest: images of forest paths.

Valada et al., "Deep Multispectral Semantic Scene Understanding of Forested Environments", 2016.
"""

from __future__ import annotations

from base.base_dataloader import BaseDataLoader
from base.base_dataset import BaseDataSet, Sample
from utils.data.labels import ColourTable
from utils.data.pairing import list_images, pair_by_key, require_folder
from utils.dataset_info import IGNORE_INDEX

_CLASSES = {
    "road": (170, 170, 170),
    "grass": (0, 255, 0),
    "vegetation": (102, 102, 51),
    "tree": (0, 60, 0),
    "sky": (0, 120, 255),
    "obstacle": (0, 0, 0),
}
_VOID = (255, 255, 255)


class DeepSceneDataSet(BaseDataSet):
    """``{train,test}/rgb/ID_Clipped.jpg`` with the colour masks ``{train,test}/GT_color/ID_mask.png``.

    There is no official validation part; keep one back with ``val_split``. Folders, file names and colours
    agree with several public readers of the data set; this class has not been run on the data set itself.
    """

    classes = tuple(_CLASSES)
    palette = tuple(_CLASSES.values())
    splits = ("train", "test")

    def _set_files(self) -> None:
        root = require_folder(self.root, "set data_dir to the folder that holds train/ and test/")
        images, masks = (list_images(root / self.split / part) for part in ("rgb", "GT_color"))
        pairs = pair_by_key(
            images,
            masks,
            lambda path: path.stem.removesuffix("_mask"),
            lambda path: path.stem.removesuffix("_Clipped"),
        )
        self.files = [Sample(name, image, mask) for name, image, mask in pairs]

    def _make_table(self) -> ColourTable:
        return ColourTable({_VOID: IGNORE_INDEX, **{c: i for i, c in enumerate(_CLASSES.values())}})


class DeepScene(BaseDataLoader):
    """Batches of :class:`DeepSceneDataSet`."""

    dataset_class = DeepSceneDataSet
