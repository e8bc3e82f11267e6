"""Checkpoints of small untrained networks, for tests of what comes after training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.build import build_model
from utils.config.factory import Component
from utils.dataset_info import DatasetInfo, voc_palette
from utils.run.checkpoint import save_checkpoint

ARCH = {"type": "UNet", "args": {"base_channels": 2}}


def make_info(classes: int = 4, channels: int = 3, **facts) -> DatasetInfo:
    """Classes c0, c1, ... in VOC colours."""
    names = tuple(f"c{i}" for i in range(classes))
    mean = (0.45,) * channels
    return DatasetInfo(names, tuple(voc_palette(classes)), mean, (0.25,) * channels, **facts)


def make_checkpoint(
    path: Path,
    info: DatasetInfo | None = None,
    seed: int = 0,
    crop_size: int | None = 32,
    arch: dict[str, Any] | None = None,
    facts: dict[str, Any] | None = None,
    **sections: object,
) -> Path:
    """Write a checkpoint as a training run would; the same seed gives the same weights.

    ``facts`` are further entries of the checkpoint, ``sections`` further sections of the config that it carries.
    """
    info, arch = info or make_info(), arch or ARCH
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_model(Component.from_plain(arch, "arch"), info)
    _spread(model, info)
    save_checkpoint(
        path,
        {
            "model": model.state_dict(),
            "arch": arch,
            "dataset": info.to_plain(),
            "config": {"name": "test", "arch": arch, **sections},
            "crop_size": crop_size,
            "epoch": 1,
            **(facts or {}),
        },
    )
    return path


@torch.no_grad()
def _spread(model: nn.Module, info: DatasetInfo) -> None:
    """Scale the last layer so that every class is somewhere the best: a constant mask would show no error."""
    noise = torch.randn(2, info.in_channels, 64, 64, generator=torch.Generator().manual_seed(5))
    norms = [(m, m.momentum) for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm, _ in norms:
        norm.momentum = 1.0  # the statistics of one pass
    model.train()(noise)
    for norm, momentum in norms:
        norm.momentum = momentum
    logits = model.eval()(noise).logits
    spread, middle = logits.std((0, 2, 3)), logits.mean((0, 2, 3))
    last = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.out_channels == info.num_classes][-1]
    last.weight.div_(spread.view(-1, 1, 1, 1))
    last.bias.sub_(middle).div_(spread)
