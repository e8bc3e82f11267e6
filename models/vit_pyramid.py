"""Heads on the tokens of a plain ViT: a classifier of tokens, and UPerNet on a pyramid made of one scale."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.blocks import PyramidPooling, conv_bn_relu, init_weights, resize_like

LEVELS = 4


class TokenHead(nn.Module):
    """Scores of each token: a linear classifier, or a perceptron of two layers.

    Args:
        in_channels: channels of all maps together.
        num_classes: channels of the logits.
        hidden: width of the perceptron; 0 is the linear classifier.
    """

    def __init__(self, in_channels: int, num_classes: int, hidden: int = 0) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(in_channels, hidden, 1), nn.GELU()] if hidden else []
        self.layers = nn.Sequential(*layers, nn.Conv2d(hidden or in_channels, num_classes, 1))
        init_weights(self.layers)
        nn.init.normal_(self.layers[-1].weight, std=0.01)  # type: ignore[arg-type]

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Logits (N, num_classes, h, w) of maps of one size."""
        logits: Tensor = self.layers(torch.cat(list(maps), dim=1))
        return logits


class PyramidHead(nn.Module):
    """UPerNet on four maps of one scale, which are resized to strides 1/4, 1/2, 1 and 2 of a patch.

    Xiao et al., "Unified Perceptual Parsing for Scene Understanding", 2018; the resizing (transposed
    convolutions, identity, maximum) as in Bao, Dong, Piao, Wei, "BEiT", 2022, and Li, Mao, Girshick, He,
    "Exploring Plain Vision Transformer Backbones for Object Detection", 2022.

    Args:
        dim: channels of each map.
        width: channels of every level of the pyramid.
        num_classes: channels of the logits.
    """

    def __init__(self, dim: int, width: int, num_classes: int) -> None:
        super().__init__()
        self.scale = nn.ModuleList(
            [
                nn.Sequential(_doubled(dim), nn.BatchNorm2d(dim), nn.GELU(), _doubled(dim)),
                _doubled(dim),
                nn.Identity(),
                nn.MaxPool2d(2, 2, ceil_mode=True),  # a single patch stays one
            ]
        )
        pooled = PyramidPooling(dim, width)
        self.top = nn.Sequential(pooled, conv_bn_relu(pooled.channels, width))
        self.lateral = nn.ModuleList(conv_bn_relu(dim, width, 1) for _ in range(LEVELS - 1))
        self.smooth = nn.ModuleList(conv_bn_relu(width, width) for _ in range(LEVELS - 1))
        self.fuse = nn.Sequential(conv_bn_relu(LEVELS * width, width), nn.Dropout2d(0.1))
        self.score = nn.Conv2d(width, num_classes, 1)
        init_weights(self.top, self.lateral, self.smooth, self.fuse, self.score)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Logits (N, num_classes, 4 h, 4 w) of four maps (N, dim, h, w)."""
        scaled = [scale(features) for scale, features in zip(self.scale, maps, strict=True)]
        levels = [lateral(features) for lateral, features in zip(self.lateral, scaled, strict=False)]
        levels.append(self.top(scaled[-1]))
        for i in range(LEVELS - 2, -1, -1):  # from coarse to fine
            levels[i] = levels[i] + resize_like(levels[i + 1], levels[i])
        smooth = [*(s(level) for s, level in zip(self.smooth, levels, strict=False)), levels[-1]]
        fused = self.fuse(torch.cat([resize_like(level, smooth[0]) for level in smooth], dim=1))
        logits: Tensor = self.score(fused)
        return logits


def _doubled(channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, channels, 2, stride=2)
