"""The catalogue of data sets: one import line per name that a config may use."""

from dataloaders.camvid import CamVid
from dataloaders.shapes import Shapes
from dataloaders.voc import VOC

__all__ = ["VOC", "CamVid", "Shapes"]
