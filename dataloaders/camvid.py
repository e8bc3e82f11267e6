"""CamVid: street scenes from a driving car, in SegNet's version of 11 classes at 480x360.

Brostow, Fauqueur and Cipolla, "Semantic object classes in video: a high-definition ground truth
database", 2009; the classes are those of Badrinarayanan, Kendall and Cipolla, "SegNet", 2017.
"""

from __future__ import annotations

from base.base_dataloader import BaseDataLoader
from base.base_dataset import BaseDataSet, Sample
from utils.data.pairing import list_images, pair_by_key, require_folder

_CLASSES = {
    "Sky": (128, 128, 128),
    "Building": (128, 0, 0),
    "Pole": (192, 192, 128),
    "Road": (128, 64, 128),
    "Pavement": (60, 40, 222),
    "Tree": (128, 128, 0),
    "SignSymbol": (192, 128, 128),
    "Fence": (64, 64, 128),
    "Car": (64, 0, 128),
    "Pedestrian": (64, 64, 0),
    "Bicyclist": (0, 128, 192),
}


class CamVidDataSet(BaseDataSet):
    """``{split}/NAME.png`` or ``.jpg`` with ``{split}annot/NAME.png``; value 11 is void."""

    classes = tuple(_CLASSES)
    palette = tuple(_CLASSES.values())
    splits = ("train", "val", "test")
    void_values = (11,)

    def _set_files(self) -> None:
        root = require_folder(self.root, "set data_dir to the folder that holds train/ and trainannot/")
        images, masks = root / self.split, root / f"{self.split}annot"
        pairs = pair_by_key(list_images(images), list_images(masks))
        self.files = [Sample(name, image, mask) for name, image, mask in pairs]


class CamVid(BaseDataLoader):
    """Batches of :class:`CamVidDataSet`."""

    dataset_class = CamVidDataSet
