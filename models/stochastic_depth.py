"""Stochastic depth: Huang, Sun, Liu, Sedra, Weinberger, "Deep Networks with Stochastic Depth", 2016."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from utils.system.lazy import lazy_import

tv_ops = lazy_import("torchvision.ops")


def rising(last: float, count: int) -> list[float]:
    """Return the probabilities of ``count`` blocks, which rise linearly from 0 to ``last``."""
    return [last * index / max(count - 1, 1) for index in range(count)]


def drop_residuals(blocks: Sequence[nn.Module], last: float) -> None:
    """Let training skip the branches of torchvision's residual blocks at random, for each image by itself.

    A branch that is kept is divided by its probability, so that the mean of the output is that without skipping.
    The names in the state dict stay, and nothing changes in evaluation.

    Args:
        blocks: all blocks of the network, from the image on.
        last: probability that the last block is skipped; that of the first is 0.
    """
    for block, rate in zip(blocks, rising(last, len(blocks)), strict=True):
        if rate:
            drop = block.drop_path = tv_ops.StochasticDepth(rate, "row")
            branch = getattr(block, "bn3", None) or block.bn2  # ends in this norm, then the shortcut is added
            assert isinstance(branch, nn.Module)
            branch.register_forward_hook(partial(_drop, drop))


def _drop(drop: nn.Module, norm: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    dropped: Tensor = drop(output)
    return dropped
