"""ENet: Paszke, Chaurasia, Kim, Culurciello, "ENet: A Deep Neural Network Architecture for Real-Time
Semantic Segmentation", 2016."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from base.base_model import BaseModel
from models.blocks import init_weights
from models.segnet import pool, unpool


class ENet(BaseModel):
    """A network for speed: early down-sampling, bottlenecks and a decoder of five layers.

    It has 351,948 parameters for 21 classes (144 per class).

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images, at most 15.

    Raises:
        ValueError: more than 15 image channels, for which the entrance has no room.
    """

    stride = 8

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__(num_classes, in_channels)
        if in_channels > 15:
            raise ValueError(
                f"in_channels: {in_channels}, but ENet's 16 entrance channels include the image's own"
            )
        self.entrance = nn.Conv2d(in_channels, 16 - in_channels, 3, 2, 1, bias=False)
        self.entrance_norm = nn.Sequential(nn.BatchNorm2d(16), nn.PReLU())
        self.down1 = _Down(16, 64, dropout=0.01)
        self.stage1 = nn.Sequential(*(_Bottleneck(64, dropout=0.01) for _ in range(4)))
        self.down2 = _Down(64, 128, dropout=0.1)
        rates = (1, 2, 0, 4, 1, 8, 0, 16) * 2  # dilation; 0 is an asymmetric convolution
        self.stage2 = nn.Sequential(
            *(_Bottleneck(128, dropout=0.1, dilation=rate or 1, asymmetric=not rate) for rate in rates)
        )
        self.up4 = _Up(128, 64)
        self.stage4 = nn.Sequential(*(_Bottleneck(64, dropout=0.1, relu=True) for _ in range(2)))
        self.up5 = _Up(64, 16)
        self.stage5 = _Bottleneck(16, dropout=0.1, relu=True)
        self.classifier = nn.ConvTranspose2d(16, num_classes, 3, 2, 1, output_padding=1, bias=False)
        init_weights(self)

    def _forward(self, images: Tensor) -> Tensor:
        features = torch.cat([self.entrance(images), F.max_pool2d(images, 2)], dim=1)
        features = self.entrance_norm(features)  # N, 16, H/2, W/2
        features, place1 = self.down1(features)  # N, 64, H/4, W/4
        features = self.stage1(features)
        features, place2 = self.down2(features)  # N, 128, H/8, W/8
        features = self.stage2(features)
        features = self.stage4(self.up4(features, place2))  # N, 64, H/4, W/4
        features = self.stage5(self.up5(features, place1))  # N, 16, H/2, W/2
        logits: Tensor = self.classifier(features)
        return logits  # N, num_classes, H, W


class _Bottleneck(nn.Module):
    """Residual block that narrows, convolves and widens its input."""

    def __init__(
        self,
        channels: int,
        dropout: float,
        dilation: int = 1,
        asymmetric: bool = False,
        relu: bool = False,
    ) -> None:
        super().__init__()
        middle = channels // 4
        if asymmetric:
            inner = [
                nn.Conv2d(middle, middle, (5, 1), padding=(2, 0), bias=False),
                *_norm(middle, relu),
                nn.Conv2d(middle, middle, (1, 5), padding=(0, 2), bias=False),
            ]
        else:
            inner = [nn.Conv2d(middle, middle, 3, padding=dilation, dilation=dilation, bias=False)]
        self.body = nn.Sequential(
            nn.Conv2d(channels, middle, 1, bias=False), *_norm(middle, relu),
            *inner, *_norm(middle, relu),
            nn.Conv2d(middle, channels, 1, bias=False), *_norm(channels, relu),
            nn.Dropout2d(dropout),
        )  # fmt: skip
        self.activation = _activation(relu)

    def forward(self, features: Tensor) -> Tensor:
        activated: Tensor = self.activation(features + self.body(features))
        return activated


class _Down(nn.Module):
    """Residual block that halves the size; its other branch is max pooling, whose places the decoder needs."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        middle = in_channels // 4
        self.padding = out_channels - in_channels
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, middle, 2, 2, bias=False), *_norm(middle),
            nn.Conv2d(middle, middle, 3, padding=1, bias=False), *_norm(middle),
            nn.Conv2d(middle, out_channels, 1, bias=False), *_norm(out_channels),
            nn.Dropout2d(dropout),
        )  # fmt: skip
        self.activation = nn.PReLU()

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        pooled, place = pool(features)
        pooled = F.pad(pooled, (0, 0, 0, 0, 0, self.padding))  # channels of zeros
        return self.activation(pooled + self.body(features)), place


class _Up(nn.Module):
    """Residual block that doubles the size; its other branch unpools to the places that :class:`_Down` found."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        middle = in_channels // 4
        self.reduce = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
        )
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, middle, 1, bias=False), *_norm(middle, relu=True),
            nn.ConvTranspose2d(middle, middle, 2, 2, bias=False), *_norm(middle, relu=True),
            nn.Conv2d(middle, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels),
            nn.Dropout2d(0.1),
        )  # fmt: skip

    def forward(self, features: Tensor, place: Tensor) -> Tensor:
        return F.relu(unpool(self.reduce(features), place) + self.body(features))


def _norm(channels: int, relu: bool = False) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), _activation(relu)]


def _activation(relu: bool) -> nn.Module:
    return nn.ReLU() if relu else nn.PReLU()  # the paper: PReLU in the encoder, ReLU in the decoder
