"""DDRNet: Pan, Hong, Sun, Jia, "Deep Dual-resolution Networks for Real-time and Accurate Semantic Segmentation of
Traffic Scenes", 2021."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from base.base_model import BaseModel, SegmentationOutput
from models.blocks import AverageGrid, init_weights, resize_like

DDRNetName = Literal["23-slim", "23"]
_WIDTHS = {"23-slim": (32, 64), "23": (64, 128)}  # channels of the first stage and of the heads
_POOLED = 128  # channels of each scale of the pyramid
_RESIDUAL = 0.2  # first weight of the last norm of a residual branch
POOLS = ((5, 2), (9, 4), (17, 8))  # side and stride of each average pooling; the last scale is global


class DDRNet(BaseModel):
    """A branch of stride 8 for detail beside one of stride 64 for context, with exchange after two stages.

    Parameters for 19 classes without the auxiliary head: 23-slim 5,695,987 (published: 5.7 M), 23 20,148,947
    (published: 20.1 M); the head adds 38,355 and 150,419.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        variant: which size.
        use_aux: whether training has the auxiliary head on the branch of stride 8 (``trainer.aux_weight``).
    """

    stride = 64

    def __init__(
        self, num_classes: int, in_channels: int = 3, variant: DDRNetName = "23-slim", use_aux: bool = True
    ) -> None:
        super().__init__(num_classes, in_channels)
        width, head = _WIDTHS[variant]
        detail = 2 * width
        self.stem = stem(in_channels, width)
        self.stage1 = stage(width, width, 2)
        self.stage2 = stage(width, 2 * width, 2, stride=2)
        self.stage3 = stage(2 * width, 4 * width, 2, stride=2)
        self.stage4 = stage(4 * width, 8 * width, 2, stride=2)
        self.stage5 = Bottleneck(8 * width, 8 * width, stride=2)
        self.detail3 = stage(detail, detail, 2)
        self.detail4 = stage(detail, detail, 2)
        self.detail5 = Bottleneck(detail, detail)
        self.down3 = conv_bn(detail, 4 * width, 3, stride=2)
        self.down4 = nn.Sequential(
            *conv_bn(detail, 4 * width, 3, stride=2), nn.ReLU(), *conv_bn(4 * width, 8 * width, 3, stride=2)
        )
        self.up3 = conv_bn(4 * width, detail, 1)
        self.up4 = conv_bn(8 * width, detail, 1)
        self.pyramid = DAPPM(16 * width, _POOLED, 4 * width)
        self.head = segmentation_head(4 * width, head, num_classes)
        self.aux = segmentation_head(detail, head, num_classes) if use_aux else None
        init_dual_resolution(self, self.head, self.aux)

    def _forward(self, images: Tensor) -> SegmentationOutput:
        shared = F.relu(self.stage2(F.relu(self.stage1(self.stem(images)))))  # N, 2w, H/8, W/8
        context, detail = self.stage3(shared), self.detail3(shared)  # H/16 and H/8
        context, detail = (
            context + self.down3(F.relu(detail)),
            detail + resize_like(self.up3(F.relu(context)), detail),
        )
        between = detail
        context, detail = self.stage4(F.relu(context)), self.detail4(F.relu(detail))  # H/32 and H/8
        context, detail = (
            context + self.down4(F.relu(detail)),
            detail + resize_like(self.up4(F.relu(context)), detail),
        )
        detail = self.detail5(F.relu(detail))  # N, 4w, H/8, W/8
        context = self.pyramid(self.stage5(F.relu(context)))  # N, 4w, H/64, W/64
        logits = self.head(detail + resize_like(context, detail))
        if self.aux is None or not self.training:
            return SegmentationOutput(logits)
        return SegmentationOutput(logits, (self.aux(between),))  # N, num_classes, H/8, W/8


class DAPPM(nn.Module):
    """Deep aggregation pyramid pooling: every scale is added to the finer one before a convolution.

    Args:
        in_channels: channels of the features.
        channels: channels of each scale.
        out_channels: channels of the output.
    """

    def __init__(self, in_channels: int, channels: int, out_channels: int) -> None:
        super().__init__()
        self.scales = pooled_scales(in_channels, channels)
        self.process = nn.ModuleList(norm_relu_conv(channels, channels, 3) for _ in self.scales[1:])
        self.compress = norm_relu_conv(channels * len(self.scales), out_channels, 1)
        self.shortcut = norm_relu_conv(in_channels, out_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        found = [self.scales[0](features)]
        for scale, process in zip(self.scales[1:], self.process, strict=True):
            found.append(process(resize_like(scale(features), features) + found[-1]))
        added: Tensor = self.compress(torch.cat(found, dim=1)) + self.shortcut(features)
        return added


def pooled_scales(in_channels: int, channels: int) -> nn.ModuleList:
    """Return a norm, ReLU and 1x1 convolution for the features as they are, pooled by 2, 4, 8, and globally."""
    pools = [
        nn.Identity(),
        *(nn.AvgPool2d(side, stride, side // 2) for side, stride in POOLS),
        AverageGrid(1),
    ]
    return nn.ModuleList(nn.Sequential(pool, norm_relu_conv(in_channels, channels, 1)) for pool in pools)


class BasicBlock(nn.Module):
    """Residual block of two 3x3 convolutions; without its last ReLU where a stage ends."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1, last: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_bn(in_channels, channels, 3, stride), nn.ReLU(inplace=True), *conv_bn(channels, channels, 3)
        )
        self.shortcut = _shortcut(in_channels, channels, stride)
        self.last = last

    def forward(self, features: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, channels, H/stride, W/stride)."""
        added: Tensor = self.body(features) + self.shortcut(features)
        return added if self.last else F.relu(added)


class Bottleneck(nn.Module):
    """Residual block of a 1x1, a 3x3 and a 1x1 convolution that doubles the channels, without a last ReLU."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_bn(in_channels, channels, 1), nn.ReLU(inplace=True),
            *conv_bn(channels, channels, 3, stride), nn.ReLU(inplace=True),
            *conv_bn(channels, 2 * channels, 1),
        )  # fmt: skip
        self.shortcut = _shortcut(in_channels, 2 * channels, stride)

    def forward(self, features: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, 2 * channels, H/stride, W/stride)."""
        added: Tensor = self.body(features) + self.shortcut(features)
        return added


def init_dual_resolution(network: nn.Module, *heads: nn.Sequential | None) -> None:
    """Draw initial weights: residual branches start weak, and scores near zero.

    The coarsest features of a small batch are a few values per channel, whose norm would pass on gradients in
    the thousands.
    """
    init_weights(network)
    for block in network.modules():
        if isinstance(block, (BasicBlock, Bottleneck)):
            *_, norm = (layer for layer in block.body.modules() if isinstance(layer, nn.BatchNorm2d))
            nn.init.constant_(norm.weight, _RESIDUAL)
    for head in heads:
        if head is not None:
            nn.init.normal_(head[-1].weight, std=0.01)  # type: ignore[arg-type]


def stem(in_channels: int, channels: int) -> nn.Sequential:
    """Return two strided convolutions, (N, in_channels, H, W) to (N, channels, H/4, W/4)."""
    layers: list[nn.Module] = []
    for source in (in_channels, channels):
        layers += [
            nn.Conv2d(source, channels, 3, 2, 1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
        ]  # fmt: skip
    return nn.Sequential(*layers)


def stage(in_channels: int, channels: int, blocks: int, stride: int = 1) -> nn.Sequential:
    """Return basic blocks, of which the first has the stride; the last one's output is not activated."""
    return nn.Sequential(
        *(
            BasicBlock(channels if i else in_channels, channels, 1 if i else stride, i == blocks - 1)
            for i in range(blocks)
        )
    )


def conv_bn(in_channels: int, out_channels: int, side: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution with batch norm."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, side, stride, side // 2, bias=False),
        nn.BatchNorm2d(out_channels),
    )


def norm_relu_conv(in_channels: int, out_channels: int, side: int, groups: int = 1) -> nn.Sequential:
    """Return batch norm, ReLU and a convolution that keeps the size."""
    return nn.Sequential(
        nn.BatchNorm2d(in_channels), nn.ReLU(inplace=True),
        nn.Conv2d(in_channels, out_channels, side, 1, side // 2, groups=groups, bias=False),
    )  # fmt: skip


def segmentation_head(in_channels: int, channels: int, num_classes: int) -> nn.Sequential:
    """Return a 3x3 and a 1x1 convolution, each after batch norm and ReLU."""
    return nn.Sequential(
        norm_relu_conv(in_channels, channels, 3),
        nn.BatchNorm2d(channels), nn.ReLU(inplace=True), nn.Conv2d(channels, num_classes, 1),
    )  # fmt: skip


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return conv_bn(in_channels, out_channels, 1, stride)
