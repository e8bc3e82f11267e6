"""PIDNet: Xu, Xiong, Bhattacharyya, "PIDNet: A Real-time Semantic Segmentation Network Inspired by PID
Controllers", 2023."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from base.base_model import BaseModel, SegmentationOutput
from models.blocks import resize_like
from models.ddrnet import (
    DAPPM,
    BasicBlock,
    Bottleneck,
    conv_bn,
    init_dual_resolution,
    norm_relu_conv,
    pooled_scales,
    segmentation_head,
    stage,
    stem,
)
from models.pidnet_loss import BoundaryGuidedLoss
from utils.config.annotations import NonNegativeFloat
from utils.losses.base import BaseLoss
from utils.losses.training import TrainingLoss

PIDNetName = Literal["S", "M", "L"]


class _Size(NamedTuple):
    """Width of the first stage, blocks of the early and of the late stages, channels of pyramid and heads."""

    width: int
    early: int
    late: int
    pooled: int
    head: int


_SIZES = {
    "S": _Size(32, 2, 3, 96, 128),
    "M": _Size(64, 2, 4, 96, 128),
    "L": _Size(64, 3, 4, 112, 256),
}


class PIDNet(BaseModel):
    """Three branches: detail at stride 8 (P), context at stride 64 (I), and boundaries at stride 8 (D).

    The boundaries decide pixel by pixel whether the prediction follows the detail or the context. In training,
    an auxiliary head sits on the detail branch, and a boundary head with a target of its own on the third; see
    :class:`models.pidnet_loss.BoundaryGuidedLoss`. Parameters for 19 classes without these two heads: S
    7,625,715 (published: 7.6 M), M 34,439,827 (published: 34.4 M), L 36,939,571 (published: 36.9 M). M is the
    network of the paper's table; the authors' code has three instead of four blocks in stages 3 and 4 of it.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        variant: which size.
        use_aux: whether training has the two heads; without them the loss is the config's alone.
        boundary_weight: factor of the boundary head's loss.
    """

    stride = 64

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        variant: PIDNetName = "S",
        use_aux: bool = True,
        boundary_weight: NonNegativeFloat = 20.0,
    ) -> None:
        super().__init__(num_classes, in_channels)
        self.boundary_weight = boundary_weight
        size = _SIZES[variant]
        width, detail, small = size.width, 2 * size.width, variant != "L"
        self.stem = stem(in_channels, width)
        self.stage1 = stage(width, width, size.early)
        self.stage2 = stage(width, 2 * width, size.early, stride=2)
        self.stage3 = stage(2 * width, 4 * width, size.late, stride=2)
        self.stage4 = stage(4 * width, 8 * width, size.late, stride=2)
        self.stage5 = nn.Sequential(
            Bottleneck(8 * width, 8 * width, stride=2), Bottleneck(16 * width, 8 * width)
        )
        self.detail3 = stage(detail, detail, size.early)
        self.detail4 = stage(detail, detail, size.early)
        self.detail5 = Bottleneck(detail, detail)
        self.gate3 = _PixelAttention(4 * width, detail)
        self.gate4 = _PixelAttention(8 * width, detail)
        self.edge3 = BasicBlock(detail, width if small else detail)
        self.edge4 = Bottleneck(width, width) if small else BasicBlock(detail, detail)
        self.edge5 = Bottleneck(detail, detail)
        self.difference3 = conv_bn(4 * width, width if small else detail, 3)
        self.difference4 = conv_bn(8 * width, detail, 3)
        pyramid = _PAPPM if small else DAPPM
        self.pyramid = pyramid(16 * width, size.pooled, 4 * width)
        self.fuse: nn.Module = _LightBag(4 * width) if small else _Bag(4 * width)
        self.head = segmentation_head(4 * width, size.head, num_classes)
        self.aux = segmentation_head(detail, size.head, num_classes) if use_aux else None
        self.boundary = segmentation_head(detail, width, 1) if use_aux else None
        init_dual_resolution(self, self.head, self.aux)

    def build_criterion(self, pixel: BaseLoss, aux_weight: float) -> TrainingLoss:
        """Add the losses of the boundary head to the loss of the config."""
        if self.boundary is None:
            return super().build_criterion(pixel, aux_weight)
        return BoundaryGuidedLoss(pixel, aux_weight, self.boundary_weight)

    def _forward(self, images: Tensor) -> SegmentationOutput:
        shared = F.relu(self.stage2(F.relu(self.stage1(self.stem(images)))))  # N, 2w, H/8, W/8
        context = F.relu(self.stage3(shared))  # H/16
        detail = self.gate3(self.detail3(shared), context)
        edges = self.edge3(shared)
        edges = edges + resize_like(self.difference3(context), edges)
        early = detail = F.relu(detail)
        context = F.relu(self.stage4(context))  # H/32
        detail = self.gate4(self.detail4(detail), context)
        edges = self.edge4(F.relu(edges))
        late = F.relu(edges + resize_like(self.difference4(context), edges))  # N, 2w, H/8, W/8
        detail, edges = self.detail5(F.relu(detail)), self.edge5(late)  # N, 4w, H/8, W/8
        context = self.pyramid(self.stage5(context))  # N, 4w, H/64, W/64
        logits = self.head(self.fuse(detail, resize_like(context, detail), edges))
        if self.aux is None or self.boundary is None or not self.training:
            return SegmentationOutput(logits)
        return SegmentationOutput(logits, (self.aux(early),), (self.boundary(late),))


class _PixelAttention(nn.Module):
    """Take up context (N, C, H/s, W/s) into detail (N, D, H, W) where the two agree (the paper's Pag)."""

    def __init__(self, context_channels: int, channels: int) -> None:
        super().__init__()
        self.compress = conv_bn(context_channels, channels, 1)
        self.of_detail = conv_bn(channels, channels // 2, 1)
        self.of_context = conv_bn(channels, channels // 2, 1)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        context = self.compress(context)
        key = resize_like(self.of_context(context), detail)
        agreement = torch.sigmoid((self.of_detail(detail) * key).sum(dim=1, keepdim=True))
        taken: Tensor = (1 - agreement) * detail + agreement * resize_like(context, detail)
        return taken


class _PAPPM(nn.Module):
    """Pyramid pooling as :class:`models.ddrnet.DAPPM`, but all scales go through one convolution in parallel."""

    def __init__(self, in_channels: int, channels: int, out_channels: int) -> None:
        super().__init__()
        self.scales = pooled_scales(in_channels, channels)
        pooled = len(self.scales) - 1
        self.process = norm_relu_conv(pooled * channels, pooled * channels, 3, groups=pooled)
        self.compress = norm_relu_conv((pooled + 1) * channels, out_channels, 1)
        self.shortcut = norm_relu_conv(in_channels, out_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        own = self.scales[0](features)
        pooled = [resize_like(scale(features), features) + own for scale in self.scales[1:]]
        found = torch.cat([own, self.process(torch.cat(pooled, dim=1))], dim=1)
        added: Tensor = self.compress(found) + self.shortcut(features)
        return added


class _Bag(nn.Module):
    """Detail at the boundaries and context elsewhere, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = norm_relu_conv(channels, channels, 3)

    def forward(self, detail: Tensor, context: Tensor, edges: Tensor) -> Tensor:
        edge = torch.sigmoid(edges)
        fused: Tensor = self.conv(edge * detail + (1 - edge) * context)
        return fused


class _LightBag(nn.Module):
    """:class:`_Bag` with two 1x1 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.of_detail = conv_bn(channels, channels, 1)
        self.of_context = conv_bn(channels, channels, 1)

    def forward(self, detail: Tensor, context: Tensor, edges: Tensor) -> Tensor:
        edge = torch.sigmoid(edges)
        fused: Tensor = self.of_detail(detail + (1 - edge) * context)
        fused = fused + self.of_context(context + edge * detail)
        return fused
