"""Small networks for the tests of exporting, and where to write them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from base import BaseModel
from utils.dataset_info import DatasetInfo
from utils.export.contract import ExportFacts
from utils.run.checkpoint import save_checkpoint

SLOW = pytest.mark.slow
FORMATS = [pytest.param("onnx", marks=SLOW), "torchscript", pytest.param("torch-export", marks=SLOW)]


class Small(BaseModel):
    """One layer, at a stride of 4 (``grid``), or with a decision that no recording can hold."""

    stride = 4

    def __init__(self, num_classes: int, in_channels: int = 3, by: str = "grid") -> None:
        super().__init__(num_classes, in_channels)
        self.layer = nn.Conv2d(in_channels, num_classes, 1)
        self.by = by

    def _forward(self, images: Tensor) -> Tensor:
        width = images.shape[-1]
        if self.by == "grid":
            return self.layer(avg_pool2d(images, 4))
        if self.by == "branch":
            return self.layer(images) * (2 if width > 60 else 1)
        return self.layer(images) + float(images.mean()) * int(width)


def make_small(by: str = "grid", num_classes: int = 4) -> Small:
    """Return a network in eval mode whose logits differ everywhere, without a bias."""
    model = Small(num_classes, by=by).eval().requires_grad_(False)
    model.layer.weight.normal_(generator=torch.Generator().manual_seed(0))
    model.layer.bias.zero_()
    return model


def small_checkpoint(path: Path, info: DatasetInfo, by: str) -> Path:
    """Write a checkpoint of :func:`make_small`, which names the class by its dotted path."""
    arch = {"type": f"{Small.__module__}.Small", "args": {"by": by}}
    weights = make_small(by, info.num_classes).state_dict()
    state = {"arch": arch, "dataset": info.to_plain(), "crop_size": None, "epoch": 1}
    save_checkpoint(path, {**state, "model": weights})
    return path


def facts_of(info: DatasetInfo) -> ExportFacts:
    return ExportFacts(info, Small.stride, None, {"type": "Small", "args": {}})


def need(format_name: str) -> None:
    """Skip the test where the optional packages of a format are missing."""
    if format_name == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(package)
