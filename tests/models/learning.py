"""Drawn images, and training on them, for the tests that a network learns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from base import BaseModel
from utils.losses import CrossEntropyLoss2d

CLASSES = 5
IMAGES = 8
_BATCH = 2


class Trace(NamedTuple):
    """Course of a short training: the losses of its steps, and the norm of the first gradient."""

    losses: list[float]
    gradient: float

    @property
    def halved(self) -> bool:
        """Whether the mean loss of the last pass over all images is at most half of the first loss."""
        steps = IMAGES // _BATCH
        return len(self.losses) > steps and sum(self.losses[-steps:]) / steps <= self.losses[0] / 2


def drawn_for(model: BaseModel) -> tuple[Tensor, Tensor]:
    """Return drawn images of at least two pixels at the stride of a model."""
    return drawn(64, 96 if model.stride > 32 else 64)


def drawn(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return (8, 3, H, W) images of large ellipses and boxes, normalised, and their (8, H, W) targets."""
    rng = np.random.default_rng(0)
    row, column = np.mgrid[:height, :width]
    colours = 1.5 * rng.standard_normal((CLASSES, 3))
    targets = np.zeros((IMAGES, height, width), np.int64)
    for target in targets:
        for index in rng.permutation(np.arange(1, CLASSES))[:2]:
            y, x = rng.uniform(0.2, 0.8, 2) * (height, width)
            h, w = rng.uniform(0.25, 0.4, 2) * (height, width)
            distances = np.abs(row - y) / h, np.abs(column - x) / w
            inside = np.maximum(*distances) if index % 2 else np.hypot(*distances)
            target[inside < 1] = index
    images = colours[targets] + 0.3 * rng.standard_normal((*targets.shape, 3))
    return torch.tensor(images.transpose(0, 3, 1, 2), dtype=torch.float32), torch.tensor(targets)


def loss_of(model: BaseModel, images: Tensor, targets: Tensor) -> Tensor:
    """Return the loss that trains a model: its own where it has one, or cross-entropy."""
    criterion = model.build_criterion(CrossEntropyLoss2d(), aux_weight=0.4)
    return criterion(model(images), targets)["loss"]


def train(model: BaseModel, rate: float, steps: int = 40) -> Trace:
    """Train with AdamW on two drawn images a step until the loss is halved, at most ``steps`` steps."""
    images, targets = drawn_for(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, fused=True)
    model.train()
    trace = Trace([], 0.0)
    for step in range(steps):
        part = torch.arange(step * _BATCH, (step + 1) * _BATCH) % IMAGES
        loss = loss_of(model, images[part], targets[part])
        optimizer.zero_grad()
        loss.backward()
        if not step:
            trace = Trace([], gradient_norm(model))
        optimizer.step()
        trace.losses.append(loss.item())
        if trace.halved:
            break
    return trace


def gradient_norm(model: nn.Module) -> float:
    """Return the norm of the gradient over all parameters."""
    return float(torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm())
