"""Comparison of an exported model with its network, at sizes other than the recorded one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

RELATIVE_TOLERANCE = 1e-4


class Parity(NamedTuple):
    """Comparison of two networks on random images of one size.

    Attributes:
        shape: batch, height and width.
        difference: largest absolute difference of the logits, including those on the network's own grid if the
            exported model returns them; infinite if the shapes differ.
        scale: largest absolute logit, at least 1.
        changed: pixels whose best class differs.
    """

    shape: tuple[int, int, int]
    difference: float
    scale: float
    changed: int

    @property
    def holds(self) -> bool:
        """Return whether the logits are equal up to rounding, so that only ties can change a pixel's class."""
        return self.difference <= RELATIVE_TOLERANCE * self.scale

    def row(self) -> str:
        """Format a line of the table under :data:`HEADER`."""
        batch, height, width = self.shape
        size = f"{batch} x {height} x {width}"
        verdict = "equal" if self.holds else "DIFFERENT"
        return f"{size:>20}{self.difference:14.2e}{self.scale:12.3g}{self.changed:10d}  {verdict}"


HEADER = f"{'batch x height x width':>20}{'max |diff|':>12}{'max |logit|':>12}{'changed':>10}"


def check_sizes(stride: int, more: Sequence[tuple[int, int]] = ()) -> list[tuple[int, int, int]]:
    """List the (batch, height, width) to compare at: single pixels, odd sides, multiples of the stride.

    Args:
        stride: stride of the network.
        more: further (height, width), each compared with a batch of 1.
    """
    step = max(stride, 8)
    usual = [
        (1, 1, 1),
        (1, 1, 2 * step + 1),
        (2, 2 * step, 3 * step),
        (1, 3 * step + 1, 2 * step - 1),
        (3, 2 * step + 3, 2 * step + 3),
        (1, 4 * step + step // 2, 7),
    ]
    return usual + [(1, height, width) for height, width in more]


@torch.inference_mode()
def compare(model: Any, exported: Any, in_channels: int, shape: tuple[int, int, int]) -> Parity:
    """Run a network and its exported model on the same random images.

    Args:
        model: the network, in eval mode; its output has ``logits``.
        exported: the model read from the exported file; its output has ``logits`` too.
        in_channels: channels of the images.
        shape: batch, height and width.
    """
    batch, height, width = shape
    draw = torch.Generator().manual_seed(height * 10_000 + width)
    images = torch.randn(batch, in_channels, height, width, generator=draw)
    expected = [model(images).logits]
    scale = max(1.0, expected[0].abs().max().item())
    different = Parity(shape, float("inf"), scale, batch * height * width)
    try:
        found = [exported(images).logits]
        if hasattr(exported, "forward_coarse"):
            found.append(exported.forward_coarse(images).logits)
            expected.append(model.forward_coarse(images).logits)
    except (RuntimeError, AssertionError):  # the recording does not hold for this size
        return different
    if any(a.shape != b.shape or not bool(b.isfinite().all()) for a, b in zip(expected, found, strict=True)):
        return different
    largest = max((a - b).abs().max().item() for a, b in zip(expected, found, strict=True))
    changed = int((found[0].argmax(dim=1) != expected[0].argmax(dim=1)).sum())
    return Parity(shape, largest, scale, changed)
