"""Batch norm over a run: its momentum, statistics that stay as they are, and statistics estimated again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from utils.errors import ConfigError


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """Return the batch norms of a model that keep running statistics."""
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]


def set_momentum(model: nn.Module, momentum: float) -> None:
    """Set the weight of a batch's statistics in the running ones (0..1), of every batch norm.

    Raises:
        ConfigError: the model has no batch norm.
    """
    for layer in _required(model, "trainer.bn_momentum"):
        layer.momentum = momentum


def require_batch_norm(model: nn.Module) -> None:
    """Refuse ``trainer.bn_freeze_from`` for a model on which it has no effect.

    Raises:
        ConfigError: the model has no batch norm.
    """
    _required(model, "trainer.bn_freeze_from")


def freeze_statistics(model: nn.Module) -> None:
    """Let batch norm use and keep its running statistics until the next ``train()``; its weights are trained."""
    for layer in batch_norms(model):
        layer.eval()


@torch.no_grad()
def estimate_statistics(
    model: nn.Module, batches: Iterable[Tensor], compute: Callable[[nn.Module, Tensor], object]
) -> None:
    """Set the running statistics to the means over batches; all else computes as in evaluation.

    Nothing is drawn at random: dropout and stochastic depth are off, as in the predictions that the statistics
    serve. Frozen batch norms, and those that no image passes through (of auxiliary heads), keep theirs.

    Args:
        model: in evaluation mode afterwards.
        batches: (N, C, H, W) images; an error that they raise leaves the statistics as they were.
        compute: the forward pass of a model on images.
    """
    layers = [layer for layer in batch_norms(model.train()) if layer.training]
    model.eval()
    before = [{name: b.clone() for name, b in layer.named_buffers()} for layer in layers]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.train().momentum = None  # the mean over all batches
    done = False
    try:
        for images in batches if layers else ():
            compute(model, images)
        done = True
    finally:
        for layer, momentum, buffers in zip(layers, momenta, before, strict=True):
            layer.momentum = momentum
            if not done or not layer.num_batches_tracked:
                _restore(layer, buffers)
        model.eval()


def _restore(layer: nn.Module, buffers: dict[str, Tensor]) -> None:
    for name, buffer in layer.named_buffers():
        buffer.copy_(buffers[name])


def _required(model: nn.Module, key: str) -> Sequence[_BatchNorm]:
    layers = batch_norms(model)
    if not layers:
        raise ConfigError(f"{key}: {type(model).__name__} has no batch norm; leave it out")
    return layers
