"""The catalogue of data sets: one import line per name that a config may use."""

from dataloaders.ade20k import ADE20K
from dataloaders.camvid import CamVid
from dataloaders.carvana import Carvana
from dataloaders.cityscapes import CityScapes
from dataloaders.clothes import Clothes
from dataloaders.coco import COCO
from dataloaders.deepscene import DeepScene
from dataloaders.folder import Folder
from dataloaders.meter import Meter
from dataloaders.sbd import SBD
from dataloaders.shapes import Shapes
from dataloaders.tianchi import TianChi
from dataloaders.voc import VOC

Cityscapes = CityScapes

__all__ = [
    "ADE20K",
    "COCO",
    "SBD",
    "VOC",
    "CamVid",
    "Carvana",
    "CityScapes",
    "Cityscapes",
    "Clothes",
    "DeepScene",
    "Folder",
    "Meter",
    "Shapes",
    "TianChi",
]
