"""Shared parts of the architectures: convolution with norm, pooling pyramids, resizing, initial weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from base.base_model import ALIGN_CORNERS, is_exporting


def conv_bn_relu(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    stride: int = 1,
    dilation: int = 1,
    bias: bool = False,
) -> nn.Sequential:
    """Convolution that keeps the size (at stride 1), batch norm and ReLU: (N, in, H, W) to (N, out, H, W)."""
    padding = dilation * (kernel_size - 1) // 2
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, bias=bias),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def separable_bn_relu(in_channels: int, out_channels: int, dilation: int = 1) -> nn.Sequential:
    """Depthwise 3x3 and pointwise convolution, each with batch norm and ReLU: (N, in, H, W) to (N, out, H, W)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, 1, dilation, dilation, groups=in_channels, bias=False),
        nn.BatchNorm2d(in_channels),
        nn.ReLU(inplace=True),
        *conv_bn_relu(in_channels, out_channels, 1),
    )


def resize_like(features: Tensor, other: Tensor) -> Tensor:
    """Resize ``features`` (N, C, h, w) bilinearly to the height and width of ``other``."""
    if features is other or (not is_exporting() and features.shape[-2:] == other.shape[-2:]):
        return features
    return F.interpolate(features, size=other.shape[-2:], mode="bilinear", align_corners=ALIGN_CORNERS)


def init_weights(*modules: nn.Module) -> None:
    """Draw initial weights: Kaiming normal for convolutions (He et al., 2015), identity for batch norm."""
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
            elif isinstance(layer, nn.BatchNorm2d):
                nn.init.ones_(layer.weight)
                nn.init.zeros_(layer.bias)


def damp_residuals(*modules: nn.Module) -> None:
    """Scale the last norm of torchvision's residual blocks by 0.2, for training from random weights.

    A deep stack of branches as strong as their shortcuts multiplies gradients: the loss of SegResNet on resnet50
    began with a gradient of norm 366, nearly all of it in the stem, whose weights the first steps then scattered.
    Goyal et al., 2017, start at 0; 0.2 leaves a gradient to the branch.
    """
    for module in modules:
        for block in module.modules():
            norm = getattr(block, "bn3", getattr(block, "bn2", None))
            if isinstance(norm, nn.BatchNorm2d) and hasattr(block, "downsample"):
                nn.init.constant_(norm.weight, 0.2)


class AverageGrid(nn.Module):
    """Adaptive average pooling to ``bins`` x ``bins`` cells, as two matrix products.

    It computes the same means as :class:`torch.nn.AdaptiveAvgPool2d`, whose backward pass on a GPU is refused
    in deterministic mode.

    Args:
        bins: cells per side.
    """

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, features: Tensor) -> Tensor:
        """Average (N, C, H, W) to (N, C, bins, bins)."""
        if self.bins == 1:
            return features.mean(dim=(2, 3), keepdim=True)
        height, width = features.shape[-2:]
        rows = self._weights(height, features)  # bins, H
        columns = self._weights(width, features)  # bins, W
        return rows @ features @ columns.t()

    def _weights(self, length: int, like: Tensor) -> Tensor:
        """Weights of the positions in each cell, (bins, length); a row sums to 1."""
        cell = torch.arange(self.bins, device=like.device)[:, None]
        position = torch.arange(length, device=like.device)
        start, stop = cell * length // self.bins, -(-(cell + 1) * length // self.bins)
        inside = ((position >= start) & (position < stop)).to(like.dtype)
        return inside / inside.sum(dim=1, keepdim=True)


class PyramidPooling(nn.Module):
    """Context at several scales, concatenated to the features: Zhao et al., 2017.

    Args:
        in_channels: channels of the features.
        out_channels: channels of each scale.
        bins: cells per side of each scale.

    Attributes:
        channels: channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int, bins: Sequence[int] = (1, 2, 3, 6)) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            nn.Sequential(AverageGrid(size), conv_bn_relu(in_channels, out_channels, 1)) for size in bins
        )
        self.channels = in_channels + out_channels * len(bins)

    def forward(self, features: Tensor) -> Tensor:
        """Append the pooled scales: (N, in_channels, H, W) to (N, self.channels, H, W)."""
        return torch.cat(
            [features, *(resize_like(scale(features), features) for scale in self.scales)], dim=1
        )


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling with image-level features: Chen et al., 2017.

    Args:
        in_channels: channels of the features.
        rates: dilation of each 3x3 branch.
        out_channels: channels of each branch and of the output.
        dropout: share of the output values that training sets to 0.
        separable: depthwise-separable convolutions in the 3x3 branches: Chen et al., 2018.
    """

    def __init__(
        self,
        in_channels: int,
        rates: Sequence[int],
        out_channels: int = 256,
        dropout: float = 0.5,
        separable: bool = False,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList([conv_bn_relu(in_channels, out_channels, 1)])
        convolve = separable_bn_relu if separable else conv_bn_relu
        self.branches.extend(convolve(in_channels, out_channels, dilation=rate) for rate in rates)
        self.image = nn.Sequential(AverageGrid(1), conv_bn_relu(in_channels, out_channels, 1))
        self.project = nn.Sequential(
            conv_bn_relu(out_channels * (len(rates) + 2), out_channels, 1), nn.Dropout(dropout)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Fuse all branches: (N, in_channels, H, W) to (N, out_channels, H, W)."""
        found = [branch(features) for branch in self.branches]
        found.append(self.image(features).expand_as(found[0]))
        fused: Tensor = self.project(torch.cat(found, dim=1))
        return fused
