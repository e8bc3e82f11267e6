"""The output of every model, and the geometry between an image and the network's own resolution."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

ALIGN_CORNERS = False  # one policy for every resize of features or logits


class SegmentationOutput(NamedTuple):
    """Output of every model (a NamedTuple, so that DataParallel can gather it).

    Attributes:
        logits: (N, num_classes, H, W), unnormalised, at exactly the size of the input.
        aux: logits of auxiliary heads, same shape; empty in eval mode.
        extra: (N, ...) tensors for the loss that the model brings (:meth:`BaseModel.build_criterion`), as
            :meth:`BaseModel._forward` returned them; empty in eval mode.
    """

    logits: Tensor
    aux: tuple[Tensor, ...] = ()
    extra: tuple[Tensor, ...] = ()


def pad_to_multiple(images: Tensor, stride: int) -> Tensor:
    """Pad on the right and at the bottom with 0, the normalised mean colour."""
    height, width = images.shape[-2:]
    bottom, right = -height % stride, -width % stride
    # an exported program must also pad images of other sizes than the one it was recorded with
    if is_exporting() or bottom or right:
        return F.pad(images, (0, right, 0, bottom))
    return images


def is_exporting() -> bool:
    """Return whether a program for inputs of all sizes is being recorded, so no branch may depend on a size."""
    # torch 2.6 has no is_exporting
    exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)
    return _is_tracing() or bool(exporting())


def _is_tracing() -> bool:
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined,no-untyped-call]


def fit(logits: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resize logits bilinearly to (height, width)."""
    # torch.jit.trace records sizes as tensors, and no branch may depend on them
    if not _is_tracing() and logits.shape[-2:] == size:
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=ALIGN_CORNERS)


def beside_zero(logit: Tensor) -> Tensor:
    """Turn (N, 1, H, W) into (N, 2, H, W): the softmax of 0 and x is 1 - sigmoid(x) and sigmoid(x)."""
    return torch.cat([torch.zeros_like(logit), logit], dim=1)
