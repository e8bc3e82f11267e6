"""Activation checkpointing: less memory for the backward pass, which computes blocks of a network again.

Chen, Xu, Zhang, Guestrin, "Training Deep Nets with Sublinear Memory Cost", 2016.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from utils.errors import ConfigError

MOST_LAYERS = 6  # limit of the convolutions and linear layers in a block
_HEAVY = (nn.modules.conv._ConvNd, nn.Linear)


def checkpoint_activations(model: nn.Module) -> int:
    """Make the blocks of a model drop their activations, which the backward pass computes again.

    A block is a largest part of the model with at most :data:`MOST_LAYERS` convolutions and linear layers: a
    residual block, a stage of an encoder or a decoder, a head. Only its input is kept. The backward pass runs
    its forward pass again, with the random state and the precision of the first time, and without updating the
    statistics of batch norm a second time. Losses, gradients and buffers equal those of a run without.

    Each block gets a subclass of its own class, so names in the state dict, copies of the model and
    ``DataParallel`` work as before. Without gradients, nothing changes.

    Args:
        model: changed in place.

    Returns:
        The number of blocks.

    Raises:
        ConfigError: the model has no blocks, or only one, which would save nothing.
    """
    blocks = _blocks(model)
    while len(blocks) == 1:  # a single block would save nothing
        blocks = _blocks(blocks[0])
    if not blocks:
        raise ConfigError(
            f"trainer.activation_checkpointing: {type(model).__name__} is not made of blocks that could be "
            "computed again one by one; set it to false"
        )
    for block in blocks:
        block.__class__ = _checkpointed(type(block))  # type: ignore[arg-type]
    return len(blocks)


def _blocks(module: nn.Module) -> list[nn.Module]:
    """Return the largest parts of a module that are called and small enough, in order."""
    found = []
    for child in module.children():
        layers = sum(isinstance(part, _HEAVY) for part in child.modules())
        if layers and next(child.children(), None) is not None:
            found += [child] if layers <= MOST_LAYERS and _is_called(child) else _blocks(child)
    return found


def _is_called(module: nn.Module) -> bool:
    """Return whether a module has a forward pass (a ModuleList has none) that a subclass can override."""
    scripted = any(isinstance(part, torch.jit.ScriptModule) for part in module.modules())
    return type(module).forward is not nn.Module.forward and not scripted


@cache
def _checkpointed(cls: type[nn.Module]) -> type[nn.Module]:
    """Return a subclass of ``cls`` whose forward pass keeps only its inputs."""

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        compute = partial(cls.forward, self)
        if not torch.is_grad_enabled():
            return compute(*args, **kwargs)

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _buffers_kept(self)

        # copied, because a caller may extend the list after the call (DenseNet does)
        given = [list(arg) if isinstance(arg, list) else arg for arg in args]
        return checkpoint(compute, *given, use_reentrant=False, context_fn=contexts, **kwargs)

    members = {"forward": forward, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls.__name__, (cls,), members)


@contextmanager
def _buffers_kept(module: nn.Module) -> Iterator[None]:
    """Let a forward pass in training mode update copies of the running statistics.

    They cannot be left out: autograd must save the same tensors as it did the first time.
    """
    changing = [part for part in module.modules() if part.training and part._buffers]
    kept = [part._buffers for part in changing]
    for part in changing:
        part._buffers = {name: None if b is None else b.clone() for name, b in part._buffers.items()}
    try:
        yield
    finally:
        for part, buffers in zip(changing, kept, strict=True):
            part._buffers = buffers
