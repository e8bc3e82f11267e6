"""Every loss with its options, and a small batch, for the tests of losses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from utils.losses import (
    BCELoss,
    BoundaryCrossEntropy,
    CE_DiceLoss,
    CrossEntropyLoss2d,
    DiceLoss,
    FocalLoss,
    JaccardLoss,
    LovaszSoftmax,
    OhemCrossEntropy,
    Sum,
    TverskyLoss,
)

MADE = {
    "BCELoss": BCELoss(),
    "BoundaryCrossEntropy": BoundaryCrossEntropy(radius=1),
    "CE_DiceLoss": CE_DiceLoss(),
    "CrossEntropyLoss2d": CrossEntropyLoss2d(),
    "DiceLoss": DiceLoss(),
    "FocalLoss": FocalLoss(),
    "JaccardLoss": JaccardLoss(),
    "LovaszSoftmax": LovaszSoftmax(),
    "LovaszSoftmax exact": LovaszSoftmax(exact=True),
    "OhemCrossEntropy": OhemCrossEntropy(min_kept=10),
    "Sum": Sum([{"type": "CrossEntropyLoss2d"}, {"type": "LovaszSoftmax", "weight": 0.5}]),
    "TverskyLoss": TverskyLoss(),
    # options with code of their own
    "smoothed": CrossEntropyLoss2d(label_smoothing=0.1, weight=[1, 2, 0.5]),
    "weighted focal": FocalLoss(weight=[1, 2, 0.5]),
    "weighted BCE": BCELoss(weight=[1, 2, 0.5]),
    "weighted CE_Dice": CE_DiceLoss(weight=[1, 2, 0.5], per_image=True),
    "Dice per image": DiceLoss(per_image=True, include_background=False, classes="all"),
    "Dice micro": DiceLoss(micro=True, smooth=0),
    "Lovász per image": LovaszSoftmax(per_image=True, weight=[1, 2, 0.5], classes="all"),
}
# the others are piecewise constant within a bin: they are compared with the exact variant
SMOOTH = {
    name: loss
    for name, loss in MADE.items()
    if getattr(loss, "exact", False) or not isinstance(loss, LovaszSoftmax | Sum)
}
each_loss = pytest.mark.parametrize("loss", MADE.values(), ids=MADE)


def small_batch(void: bool = True, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Logits (2, 3, 4, 5) and target, without random numbers."""
    i = torch.arange(120, dtype=torch.float64)
    logits = (2 * torch.sin(1.7 * i) + torch.cos(0.3 * i)).view(2, 3, 4, 5).to(dtype)
    target = ((7 * torch.arange(40)) % 3).view(2, 4, 5)
    if void:
        target[0, 0, :] = 255
        target[1, :, 4] = 255
    return logits, target
