"""Compares an exported model with the network it was made from, at sizes other than the recorded one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

RELATIVE_TOLERANCE = 1e-4


class Parity(NamedTuple):
    """How two networks compare on random images of one size.

    Attributes:
        shape: batch, height and width.
        difference: largest absolute difference of logits, those on the network's own grid included where the
            exported model offers them; infinite where the shapes differ.
        scale: largest absolute logit, at least 1.
        changed: pixels whose best class differs.
    """

    shape: tuple[int, int, int]
    difference: float
    scale: float
    changed: int

    @property
    def holds(self) -> bool:
        """Equal up to rounding; the class of a pixel can then differ only where two are equally good."""
        return self.difference <= RELATIVE_TOLERANCE * self.scale

    def row(self) -> str:
        """A line of the table."""
        batch, height, width = self.shape
        size = f"{batch} x {height} x {width}"
        verdict = "equal" if self.holds else "DIFFERENT"
        return f"{size:>20}{self.difference:14.2e}{self.scale:12.3g}{self.changed:10d}  {verdict}"


HEAD = f"{'batch x height x width':>20}{'max |diff|':>12}{'max |logit|':>12}{'changed':>10}"


def check_sizes(stride: int, more: Sequence[tuple[int, int]] = ()) -> list[tuple[int, int, int]]:
    """(batch, height, width) to compare at: single pixels, odd sides, multiples of the stride, and ``more``."""
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
    """Run both on the same random images.

    Args:
        model: the original, in eval mode.
        exported: what was read back; both give an output that has ``logits``.
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
    except (RuntimeError, AssertionError):  # it is for other sizes
        return different
    if any(a.shape != b.shape or not bool(b.isfinite().all()) for a, b in zip(expected, found, strict=True)):
        return different
    largest = max((a - b).abs().max().item() for a, b in zip(expected, found, strict=True))
    changed = int((found[0].argmax(dim=1) != expected[0].argmax(dim=1)).sum())
    return Parity(shape, largest, scale, changed)
