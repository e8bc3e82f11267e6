"""ENet: Paszke, Chaurasia, Kim, Culurciello, "ENet: A Deep Neural Network Architecture for Real-Time
Semantic Segmentation", 2016."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from base.base_model import BaseModel, SegmentationOutput
from models.auxiliary import auxiliary_head, with_auxiliary
from models.blocks import init_weights
from models.segnet import pool, unpool

Layout = Literal["paper", "family"]


class ENet(BaseModel):
    """A network for speed: early down-sampling, bottlenecks and a decoder of five layers.

    For 21 classes it has 364,441 parameters, 65 per class (the paper says 0.37 million).

    The layout of the template family and of a known port, which version 1 had, differs from the authors' code:
    blocks that change the size narrow to a quarter of their input instead of their output, a further activation
    precedes the addition of the two branches, a PReLU has one slope instead of one per channel, asymmetric
    convolutions have a norm between them, the decoder drops features out, and its deconvolutions have other sides.
    It has 351,948 parameters, 144 per class.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images, at most 15.
        layout: that of the authors or of the template family.
        use_aux: train an auxiliary head on the encoder's features of stride 8 (``trainer.aux_weight``).

    Raises:
        ValueError: more than 15 image channels, for which the entrance has no room.
    """

    architecture_version = 2  # 2: the authors' layout
    stride = 8

    def __init__(
        self, num_classes: int, in_channels: int = 3, layout: Layout = "paper", use_aux: bool = False
    ) -> None:
        super().__init__(num_classes, in_channels)
        if in_channels > 15:
            raise ValueError(
                f"in_channels: {in_channels}, but ENet's 16 entrance channels include the image's own"
            )
        paper = layout == "paper"
        self.entrance = nn.Conv2d(in_channels, 16 - in_channels, 3, 2, 1, bias=paper)
        self.entrance_norm = nn.Sequential(*_norm(16, layout))
        self.down1 = _Down(16, 64, 0.01, layout)
        self.stage1 = nn.Sequential(*(_Bottleneck(64, 0.01, layout) for _ in range(4)))
        self.down2 = _Down(64, 128, 0.1, layout)
        rates = (1, 2, 0, 4, 1, 8, 0, 16) * 2  # dilation; 0 is an asymmetric convolution
        self.stage2 = nn.Sequential(*(_Bottleneck(128, 0.1, layout, rate) for rate in rates))
        dropout = 0.0 if paper else 0.1
        self.up4 = _Up(128, 64, layout)
        self.stage4 = nn.Sequential(*(_Bottleneck(64, dropout, layout, relu=True) for _ in range(2)))
        self.up5 = _Up(64, 16, layout)
        self.stage5 = _Bottleneck(16, dropout, layout, relu=True)
        self.classifier = _double(16, num_classes, 2 if paper else 3, bias=paper)
        init_weights(self)
        self.aux = auxiliary_head(128, num_classes) if use_aux else None

    @classmethod
    def arguments_of_version(cls, version: int, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of today for version 1, the template family's layout."""
        return {**arguments, "layout": "family"}

    def _forward(self, images: Tensor) -> Tensor | SegmentationOutput:
        features = torch.cat([self.entrance(images), F.max_pool2d(images, 2)], dim=1)
        features = self.entrance_norm(features)  # N, 16, H/2, W/2
        features, place1 = self.down1(features)  # N, 64, H/4, W/4
        features = self.stage1(features)
        features, place2 = self.down2(features)  # N, 128, H/8, W/8
        middle = self.stage2(features)
        features = self.stage4(self.up4(middle, place2))  # N, 64, H/4, W/4
        features = self.stage5(self.up5(features, place1))  # N, 16, H/2, W/2
        return with_auxiliary(self, self.classifier(features), middle)  # N, num_classes, H, W


class _Bottleneck(nn.Module):
    """Residual block that narrows, convolves (asymmetrically for rate 0) and widens its input."""

    def __init__(
        self, channels: int, dropout: float, layout: Layout, rate: int = 1, relu: bool = False
    ) -> None:
        super().__init__()
        middle, paper = channels // 4, layout == "paper"
        inner: list[nn.Module] = [nn.Conv2d(middle, middle, 3, padding=rate, dilation=rate or 1, bias=paper)]
        if not rate:
            inner = [
                nn.Conv2d(middle, middle, (5, 1), padding=(2, 0), bias=False),
                *([] if paper else _norm(middle, layout, relu)),
                nn.Conv2d(middle, middle, (1, 5), padding=(0, 2), bias=paper),
            ]
        self.body = nn.Sequential(
            nn.Conv2d(channels, middle, 1, bias=False), *_norm(middle, layout, relu),
            *inner, *_norm(middle, layout, relu),
            nn.Conv2d(middle, channels, 1, bias=False), *_last_norm(channels, layout, relu),
            nn.Dropout2d(dropout),
        )  # fmt: skip
        self.activation = _activation(channels, layout, relu)

    def forward(self, features: Tensor) -> Tensor:
        activated: Tensor = self.activation(features + self.body(features))
        return activated


class _Down(nn.Module):
    """Residual block that halves the size; its other branch is max pooling, whose places the decoder needs."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float, layout: Layout) -> None:
        super().__init__()
        paper = layout == "paper"
        middle = (out_channels if paper else in_channels) // 4
        self.padding = out_channels - in_channels
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, middle, 2, 2, bias=False), *_norm(middle, layout),
            nn.Conv2d(middle, middle, 3, padding=1, bias=paper), *_norm(middle, layout),
            nn.Conv2d(middle, out_channels, 1, bias=False), *_last_norm(out_channels, layout),
            nn.Dropout2d(dropout),
        )  # fmt: skip
        self.activation = _activation(out_channels, layout)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        pooled, place = pool(features)
        pooled = F.pad(pooled, (0, 0, 0, 0, 0, self.padding))  # channels of zeros
        return self.activation(pooled + self.body(features)), place


class _Up(nn.Module):
    """Residual block that doubles the size; its other branch unpools to the places that :class:`_Down` found."""

    def __init__(self, in_channels: int, out_channels: int, layout: Layout) -> None:
        super().__init__()
        paper = layout == "paper"
        middle = (out_channels if paper else in_channels) // 4
        self.reduce = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
        )
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, middle, 1, bias=False), *_norm(middle, layout, relu=True),
            _double(middle, middle, 3 if paper else 2, bias=paper), *_norm(middle, layout, relu=True),
            nn.Conv2d(middle, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels),
            nn.Dropout2d(0.0 if paper else 0.1),
        )  # fmt: skip

    def forward(self, features: Tensor, place: Tensor) -> Tensor:
        return F.relu(unpool(self.reduce(features), place) + self.body(features))


def _double(in_channels: int, out_channels: int, side: int, bias: bool) -> nn.ConvTranspose2d:
    """Deconvolution of side 2 or 3 that doubles the size of the features."""
    cut = side - 2
    return nn.ConvTranspose2d(in_channels, out_channels, side, 2, cut, output_padding=cut, bias=bias)


def _norm(channels: int, layout: Layout, relu: bool = False) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), _activation(channels, layout, relu)]


def _last_norm(channels: int, layout: Layout, relu: bool = False) -> list[nn.Module]:
    """Norm before the addition, which the template family activates as well."""
    return _norm(channels, layout, relu)[: 1 if layout == "paper" else 2]


def _activation(channels: int, layout: Layout, relu: bool = False) -> nn.Module:
    """ReLU for the decoder, PReLU for the encoder, as in the paper."""
    if relu:
        return nn.ReLU()
    return nn.PReLU(channels if layout == "paper" else 1)
