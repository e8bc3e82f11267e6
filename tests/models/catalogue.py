"""Every registered model, in its smallest form."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

import models
from base import BaseModel
from models.build import MODELS
from models.mit import SIZES, MiTSize

VIT = {
    "backbone": "vit_tiny_patch16_224",
    "pretrained": False,
    "options": {"embed_dim": 24, "depth": 2, "num_heads": 2, "img_size": 64},
}
SMALLEST: dict[str, dict[str, Any]] = {
    "DABNet": {},
    "ERFNet": {},
    "DDRNet": {"variant": "23-slim"},
    "DeepLab": {"backbone": "resnet18", "pretrained": False},
    "DeepLab_DUC_HDC": {"backbone": "resnet50", "pretrained": False},
    "ENet": {},
    "EoMT": {**VIT, "queries": 8, "query_blocks": 1},
    "FCN8s": {"backbone": "vgg11", "pretrained": False},
    "FCN16s": {"backbone": "vgg11", "pretrained": False},
    "FCN32s": {"backbone": "vgg11", "pretrained": False},
    "GCN": {"backbone": "resnet18", "pretrained": False},
    "PIDNet": {"variant": "S"},
    "PSPDenseNet": {"backbone": "densenet121", "pretrained": False},
    "PSPNet": {"backbone": "resnet18", "pretrained": False},
    "SegFormer": {"backbone": "mit_b0", "pretrained": False},
    "SegNet": {"pretrained": False},
    "SegResNet": {"pretrained": False},
    "UNet": {"base_channels": 8},
    "UNetBackbone": {"backbone": "resnet18", "pretrained": False},
    "UperNet": {"backbone": "resnet18", "pretrained": False, "fpn_channels": 64},
    "ViTSeg": VIT,
}
OPTIONAL = {"HF", "SMP", "TV"}  # networks of other packages: tested in their own files
LARGE = {
    "DeepLab_DUC_HDC",
    "PIDNet",
    "PSPDenseNet",
    "SegNet",
    "SegResNet",
}  # even the smallest form takes seconds


def registered() -> list[str]:
    """One name per class: an alias would only repeat it."""
    return sorted({cls.__name__ for cls in MODELS.classes().values()} - OPTIONAL)


def each_model(less: Collection[str] = ()) -> list[Any]:
    """Return the registered names as parameters of a test, the large networks marked as slow."""
    return [
        pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name
        for name in registered()
        if name not in less
    ]


def smallest(
    name: str, num_classes: int = 5, in_channels: int = 3, full_depth: bool = False, **arguments: Any
) -> BaseModel:
    """Build a model in its smallest form, without the cost of weights on which no test depends.

    Without ``full_depth``, every kind of block of the network is there, and hardly one of them twice.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.vgg.HIDDEN", 64)  # FCN's 4096 channels are 120 million weights
        if name not in ("EoMT", "ViTSeg"):  # elsewhere, linear layers are classifiers, which are dropped
            patch.setattr("torch.nn.Linear.reset_parameters", lambda layer: None)
        if not full_depth:
            patch.setitem(SIZES, "mit_b0", MiTSize((1, 1, 1, 1), SIZES["mit_b0"].channels))
            for place, build in _SHALLOW.items():
                patch.setattr(place, build)
        model: BaseModel = getattr(models, name)(num_classes, in_channels, **{**SMALLEST[name], **arguments})
    if not full_depth and name not in ("EoMT", "ViTSeg"):  # which count their blocks
        _drop_repeated_blocks(model)
    return model


# where models look torchvision's networks up: their stand-in for the module keeps what it has read once
_SHALLOW: dict[str, Callable[..., nn.Module]] = {
    "models.resnet.tv.resnet18": lambda weights: torchvision.models.ResNet(BasicBlock, [1, 1, 1, 1]),
    "models.resnet.tv.resnet50": lambda weights: torchvision.models.ResNet(Bottleneck, [1, 1, 2, 2]),
    "models.densenet.tv.densenet121": lambda weights: torchvision.models.DenseNet(32, (1, 2, 1, 2), 64),
    "models.segnet.tv.vgg16_bn": torchvision.models.vgg11_bn,
}


def _drop_repeated_blocks(model: nn.Module) -> None:
    """Remove from each sequence the blocks that are equal to an earlier one."""
    for sequence in [module for module in model.modules() if isinstance(module, nn.Sequential)]:
        blocks = [repr(block) for block in sequence]
        for place in reversed(range(1, len(blocks))):
            if blocks[place] in blocks[:place] and list(sequence[place].children()):
                del sequence[place]
