"""Transforms for test-time augmentation, each with its exact inverse: no pixel is interpolated or lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Transform(NamedTuple):
    """A symmetry of the square.

    Attributes:
        apply: (N, C, H, W) images to transformed ones.
        invert: takes results of transformed images back to the image's own pixels.
    """

    apply: Callable[[Tensor], Tensor]
    invert: Callable[[Tensor], Tensor]


def _turned(quarters: int) -> Transform:
    return Transform(lambda x: x.rot90(quarters, (2, 3)), lambda x: x.rot90(-quarters, (2, 3)))


TRANSFORMS = {
    "identity": Transform(lambda x: x, lambda x: x),
    "hflip": Transform(lambda x: x.flip(3), lambda x: x.flip(3)),
    "vflip": Transform(lambda x: x.flip(2), lambda x: x.flip(2)),
    "rot90": _turned(1),
    "rot180": _turned(2),
    "rot270": _turned(3),
    "transpose": Transform(lambda x: x.transpose(2, 3), lambda x: x.transpose(2, 3)),
}
