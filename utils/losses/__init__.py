"""The catalogue of losses: one import line per name that a config may use."""

from utils.losses.base import BaseLoss, PixelLoss, RegionLoss
from utils.losses.combined import CE_DiceLoss, Sum
from utils.losses.lovasz import LovaszSoftmax
from utils.losses.pixel import (
    BCELoss,
    BoundaryCrossEntropy,
    CrossEntropyLoss2d,
    FocalLoss,
    OhemCrossEntropy,
)
from utils.losses.region import DiceLoss, JaccardLoss, TverskyLoss

__all__ = [
    "BCELoss",
    "BaseLoss",
    "BoundaryCrossEntropy",
    "CE_DiceLoss",
    "CrossEntropyLoss2d",
    "DiceLoss",
    "FocalLoss",
    "JaccardLoss",
    "LovaszSoftmax",
    "OhemCrossEntropy",
    "PixelLoss",
    "RegionLoss",
    "Sum",
    "TverskyLoss",
]
