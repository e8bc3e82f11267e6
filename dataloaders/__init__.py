"""The catalogue of data sets: one import line per name that a config may use."""

from dataloaders.camvid import CamVid
from dataloaders.carvana import Carvana
from dataloaders.cityscapes import CityScapes
from dataloaders.folder import Folder
from dataloaders.shapes import Shapes
from dataloaders.voc import VOC

Cityscapes = CityScapes

__all__ = ["VOC", "CamVid", "Carvana", "CityScapes", "Cityscapes", "Folder", "Shapes"]
