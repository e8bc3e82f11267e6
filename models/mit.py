"""Mix Transformer, SegFormer's encoder: Xie, Wang, Yu, Anandkumar, Alvarez, Luo, "SegFormer: Simple and Efficient
Design for Semantic Segmentation with Transformers", 2021."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from models.features import Backbone
from models.stochastic_depth import rising
from utils.system.lazy import lazy_import

tv_ops = lazy_import("torchvision.ops")

MiTName = Literal["mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5"]


class MiTSize(NamedTuple):
    """Size of an encoder: blocks and channels of its four stages."""

    depths: tuple[int, int, int, int]
    channels: tuple[int, int, int, int]


SIZES: dict[str, MiTSize] = {
    "mit_b0": MiTSize((2, 2, 2, 2), (32, 64, 160, 256)),
    "mit_b1": MiTSize((2, 2, 2, 2), (64, 128, 320, 512)),
    "mit_b2": MiTSize((3, 4, 6, 3), (64, 128, 320, 512)),
    "mit_b3": MiTSize((3, 4, 18, 3), (64, 128, 320, 512)),
    "mit_b4": MiTSize((3, 8, 27, 3), (64, 128, 320, 512)),
    "mit_b5": MiTSize((3, 6, 40, 3), (64, 128, 320, 512)),
}
_HEADS = (1, 2, 5, 8)
_REDUCTIONS = (8, 4, 2, 1)  # all keys and values lie on a grid of stride 32
_EXPANSION = 4  # of the feed-forward network's hidden layer
_EPS = 1e-6  # of the norms in blocks and after stages; the others keep torch's default, as the authors' do


class MixTransformer(Backbone):
    """Pyramid of four transformer stages without a position table.

    Encoders alone have 3,319,392 (mit_b0), 13,151,424, 24,196,288, 44,072,128, 60,842,688 and 81,443,008
    (mit_b5) parameters.

    Args:
        name: which size.
        in_channels: channels of the images.
        drop_path: probability that the last block is skipped for an image in training; it rises linearly from 0
            at the first one.

    """

    reductions = (4, 8, 16, 32)
    stride = 32

    def __init__(self, name: MiTName = "mit_b0", in_channels: int = 3, drop_path: float = 0.1) -> None:
        super().__init__()
        size = SIZES[name]
        self.channels = size.channels
        rates = iter(rising(drop_path, sum(size.depths)))
        before = (in_channels, *size.channels)
        self.stages = nn.ModuleList(
            _Stage(before[i], size.channels[i], i, [next(rates) for _ in range(size.depths[i])])
            for i in range(4)
        )
        self.apply(_init)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features (N, channels, H/s, W/s) at strides s of 4, 8, 16 and 32; H and W are multiples of 32."""
        features = []
        for stage in self.stages:
            images = stage(images)
            features.append(images)
        return features


class _Stage(nn.Module):
    """Overlapping patches, transformer blocks and a norm: (N, C, H, W) to (N, channels, H/s, W/s)."""

    def __init__(self, in_channels: int, channels: int, index: int, drop_rates: list[float]) -> None:
        super().__init__()
        side, stride = (3, 2) if index else (7, 4)
        self.patch = nn.Conv2d(in_channels, channels, side, stride, side // 2)
        self.patch_norm = nn.LayerNorm(channels)
        self.blocks = nn.ModuleList(
            _Block(channels, _HEADS[index], _REDUCTIONS[index], rate) for rate in drop_rates
        )
        self.norm = nn.LayerNorm(channels, _EPS)

    def forward(self, features: Tensor) -> Tensor:
        tokens = self.patch_norm(_channels_last(self.patch(features)))  # N, h, w, channels
        for block in self.blocks:
            tokens = block(tokens)
        return _channels_first(self.norm(tokens))


class _Block(nn.Module):
    """Attention and feed-forward network on (N, h, w, C), each added to its input."""

    def __init__(self, channels: int, heads: int, reduction: int, drop_rate: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, _EPS)
        self.attention = _Attention(channels, heads, reduction)
        self.norm2 = nn.LayerNorm(channels, _EPS)
        self.mlp = _MixMLP(channels, channels * _EXPANSION)
        self.drop_path: nn.Module = tv_ops.StochasticDepth(drop_rate, "row") if drop_rate else nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.drop_path(self.attention(self.norm1(tokens)))
        added: Tensor = tokens + self.drop_path(self.mlp(self.norm2(tokens)))
        return added


class _Attention(nn.Module):
    """Self-attention whose keys and values come from a grid that is coarser by ``reduction``."""

    def __init__(self, channels: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.project = nn.Linear(channels, channels)
        self.reduce: nn.Module | None = None
        if reduction > 1:
            self.reduce = nn.Conv2d(channels, channels, reduction, reduction)
            self.reduce_norm = nn.LayerNorm(channels)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, height, width, channels = tokens.shape
        coarse = tokens
        if self.reduce is not None:
            coarse = self.reduce_norm(_channels_last(self.reduce(_channels_first(tokens))))
        each = channels // self.heads
        query = self.query(tokens).reshape(batch, -1, self.heads, each).transpose(1, 2)
        pair = self.key_value(coarse).reshape(batch, -1, 2, self.heads, each).permute(2, 0, 3, 1, 4)
        key, value = pair.unbind()
        mixed = F.scaled_dot_product_attention(query, key, value)  # N, heads, h * w, C / heads
        projected: Tensor = self.project(mixed.transpose(1, 2).reshape(batch, height, width, channels))
        return projected


class _MixMLP(nn.Module):
    """Feed-forward network whose depthwise convolution takes the place of position encoding."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.widen = nn.Linear(channels, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.narrow = nn.Linear(hidden, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = _channels_last(self.depthwise(_channels_first(self.widen(tokens))))
        narrowed: Tensor = self.narrow(F.gelu(hidden))
        return narrowed


def _channels_first(tokens: Tensor) -> Tensor:
    return tokens.permute(0, 3, 1, 2)


def _channels_last(features: Tensor) -> Tensor:
    return features.permute(0, 2, 3, 1)


def _init(layer: nn.Module) -> None:
    """Draw initial weights as the authors do: truncated normal for linear layers, Kaiming for convolutions."""
    if isinstance(layer, nn.Linear):
        nn.init.trunc_normal_(layer.weight, std=0.02)
        nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.Conv2d):
        fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels // layer.groups
        nn.init.normal_(layer.weight, 0, (2 / fan_out) ** 0.5)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
