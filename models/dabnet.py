"""DABNet: Li, Yun, Kim, Kim, "DABNet: Depth-wise Asymmetric Bottleneck for Real-time Semantic Segmentation",
2019."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from base.base_model import BaseModel, SegmentationOutput
from models.auxiliary import auxiliary_head, with_auxiliary
from models.blocks import init_weights

_EPS = 1e-3  # of the authors' batch norms


class DABNet(BaseModel):
    """A network of 0.76 M parameters, for speed: two stages of depthwise asymmetric bottlenecks, no decoder.

    It has 756,643 parameters for 19 classes (published: 0.76 M) and 259 per class. The reduced image joins the
    features of every stage.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        use_aux: train an auxiliary head on the features of stride 4 (``trainer.aux_weight``).
    """

    stride = 8

    def __init__(self, num_classes: int, in_channels: int = 3, use_aux: bool = False) -> None:
        super().__init__(num_classes, in_channels)
        self.stem = nn.Sequential(*_conv(in_channels, 32, 3, stride=2), *_conv(32, 32, 3), *_conv(32, 32, 3))
        self.norm1 = _norm(32 + in_channels)
        self.down1 = _Down(32 + in_channels, 64)
        self.stage1 = nn.Sequential(*(_Bottleneck(64, dilation=2) for _ in range(3)))
        self.norm2 = _norm(2 * 64 + in_channels)
        self.down2 = _Down(2 * 64 + in_channels, 128)
        self.stage2 = nn.Sequential(*(_Bottleneck(128, rate) for rate in (4, 4, 8, 8, 16, 16)))
        self.norm3 = _norm(2 * 128 + in_channels)
        self.classifier = nn.Conv2d(2 * 128 + in_channels, num_classes, 1, bias=False)
        init_weights(self)
        self.aux = auxiliary_head(2 * 64 + in_channels, num_classes) if use_aux else None

    def _forward(self, images: Tensor) -> Tensor | SegmentationOutput:
        half = _half(images)
        quarter = _half(half)
        features = self.norm1(torch.cat([self.stem(images), half], dim=1))  # N, 35, H/2, W/2
        down = self.down1(features)
        middle = self.norm2(torch.cat([self.stage1(down), down, quarter], dim=1))  # N, 131, H/4, W/4
        down = self.down2(middle)
        features = self.norm3(torch.cat([self.stage2(down), down, _half(quarter)], dim=1))
        return with_auxiliary(self, self.classifier(features), middle)  # N, num_classes, H/8, W/8


class _Bottleneck(nn.Module):
    """Residual block of two branches at half the width: depthwise 3x1 and 1x3, plain and dilated."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        middle = channels // 2
        self.reduce = nn.Sequential(_norm(channels), *_conv(channels, middle, 3))
        self.near = nn.Sequential(*_asymmetric(middle, 1))
        self.far = nn.Sequential(*_asymmetric(middle, dilation))
        self.expand = nn.Sequential(_norm(middle), nn.Conv2d(middle, channels, 1, bias=False))

    def forward(self, features: Tensor) -> Tensor:
        reduced = self.reduce(features)
        added: Tensor = features + self.expand(self.near(reduced) + self.far(reduced))
        return added


class _Down(nn.Module):
    """Strided convolution; where channels are added, max pooling keeps the old ones beside the new."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.pools = in_channels < out_channels
        new = out_channels - in_channels if self.pools else out_channels
        self.conv = nn.Conv2d(in_channels, new, 3, 2, 1, bias=False)
        self.norm = _norm(out_channels)

    def forward(self, features: Tensor) -> Tensor:
        down = self.conv(features)
        if self.pools:
            down = torch.cat([down, F.max_pool2d(features, 2)], dim=1)
        normed: Tensor = self.norm(down)
        return normed


def _half(images: Tensor) -> Tensor:
    return F.avg_pool2d(images, 3, 2, 1)


def _norm(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels, _EPS), nn.PReLU(channels))


def _conv(in_channels: int, out_channels: int, side: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, side, stride, side // 2, bias=False),
        _norm(out_channels),
    ]


def _asymmetric(channels: int, dilation: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for side, padding, rate in (
        ((3, 1), (dilation, 0), (dilation, 1)),
        ((1, 3), (0, dilation), (1, dilation)),
    ):
        layers += [
            nn.Conv2d(channels, channels, side, 1, padding, rate, groups=channels, bias=False),
            _norm(channels),
        ]
    return layers
