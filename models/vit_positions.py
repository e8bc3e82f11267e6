"""Positions of the patches of a ViT of timm, as operators that a recorded program repeats for every image size.

timm computes them from Python numbers, which recording would turn into constants of the example.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from utils.errors import ExportError


def add_positions(net: Any, patches: Tensor) -> tuple[Tensor, Any]:
    """Compute what ``net._pos_embed`` does in evaluation mode.

    Args:
        net: a ``VisionTransformer`` or ``Eva`` of timm, built for images of every size.
        patches: (N, h, w, dim) embedded patches.

    Returns:
        Tokens (N, prefix + h * w, dim) and the rotations of queries and keys (``None`` without).

    Raises:
        ExportError: rotary positions of a kind that is not known here.
    """
    count, dim = patches.shape[0], patches.shape[-1]
    prefix = [token.expand(count, -1, -1) for token in (net.cls_token, net.reg_token) if token is not None]
    tokens = patches.reshape(count, -1, dim)
    if net.pos_embed is not None:
        first = 0 if net.no_embed_class else net.num_prefix_tokens
        prefix_table, table = net.pos_embed[:, :first], net.pos_embed[:, first:]
        tokens = tokens + _resampled(table, net.patch_embed.grid_size, patches)
        if first:
            prefix = [torch.cat(prefix, dim=1) + prefix_table]
    rope = getattr(net, "rope", None)
    return torch.cat([*prefix, tokens], dim=1), None if rope is None else _rotations(rope, patches)


def _resampled(table: Tensor, grid: tuple[int, int], patches: Tensor) -> Tensor:
    """Resample a table (1, old grid, dim) to the grid of the patches."""
    maps = table.reshape(1, *grid, -1).permute(0, 3, 1, 2)
    maps = F.interpolate(maps, size=patches.shape[1:3], mode="bicubic", antialias=True)
    return maps.permute(0, 2, 3, 1).reshape(1, -1, table.shape[-1])


def _rotations(rope: Any, patches: Tensor) -> Tensor:
    """Sines and cosines (h * w, 2 * dim of a head) of rotary positions."""
    kind = type(rope).__name__
    ones = torch.ones_like(patches[0, ..., 0], dtype=torch.float32)  # h, w
    rows, columns = ones.cumsum(0) - 1, ones.cumsum(1) - 1
    height, width = ones[:, :1].sum(), ones[:1].sum()
    if kind == "RotaryEmbeddingDinoV3" and rope.normalize_coords == "separate" and rope.grid_indexing == "ij":
        shift = 0.5 + rope.grid_offset
        axes = [2 * (rows + shift) / height - 1, 2 * (columns + shift) / width - 1]
        sine, cosine = rope._get_pos_embed_from_coords(torch.stack(axes, dim=-1).flatten(0, 1))
        return torch.cat([sine, cosine], dim=-1)
    if kind == "RotaryEmbeddingCat" and getattr(rope, "grid_type", "index") == "index" and not rope.in_pixels:
        axes = [rows + rope.grid_offset, columns + rope.grid_offset]
        if rope.grid_indexing == "xy":
            axes = [axes[1], axes[0]]
        if rope.ref_feat_shape is not None:
            sides = (height, width) if rope.grid_indexing == "ij" else (width, height)
            axes = [a / s * r for a, s, r in zip(axes, sides, rope.ref_feat_shape, strict=True)]
        angles = torch.stack(axes, dim=-1).flatten(0, 1)[..., None] * rope.bands
        return torch.cat([_paired(angles.sin(), rope), _paired(angles.cos(), rope)], dim=-1)
    raise ExportError(f"rotary positions of the kind {kind} cannot be recorded for images of every size")


def _paired(values: Tensor, rope: Any) -> Tensor:
    """Lay out (n, 2, bands) for the channels that a rotation pairs: neighbours, or halves."""
    flat = values.flatten(1)
    if rope.rotate_half:
        return torch.cat([flat, flat], dim=-1)
    return flat.repeat_interleave(2, dim=-1)
