"""U-Net: Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from base.base_model import ALIGN_CORNERS, BaseModel
from utils.types import PositiveInt


class UNet(BaseModel):
    """U-Net with batch norm and same-size convolutions."""

    stride = 16

    def __init__(self, num_classes: int, in_channels: int = 3, bilinear: bool = False, base_channels: PositiveInt = 64) -> None:
        super().__init__(num_classes, in_channels)
        w = [base_channels * k for k in (1, 2, 4, 8, 16)]
        f = 2 if bilinear else 1
        self.inc = double(in_channels, w[0])
        self.down = nn.ModuleList(nn.Sequential(nn.MaxPool2d(2), double(a, b)) for a, b in zip(w[:3], w[1:4]))
        self.down.append(nn.Sequential(nn.MaxPool2d(2), double(w[3], w[4] // f)))
        self.up = nn.ModuleList(Up(w[4 - i], w[3 - i] // (f if i < 3 else 1), bilinear) for i in range(4))
        self.outc = nn.Conv2d(w[0], num_classes, 1)

    def _forward(self, images: Tensor) -> Tensor:
        skips = [self.inc(images)]
        for d in self.down:
            skips.append(d(skips[-1]))
        x = skips.pop()
        for u in self.up:
            x = u(x, skips.pop())
        return self.outc(x)


def double(i, o, m=None):
    m = m or o
    return nn.Sequential(nn.Conv2d(i, m, 3, padding=1, bias=False), nn.BatchNorm2d(m), nn.ReLU(inplace=True), nn.Conv2d(m, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class Up(nn.Module):
    def __init__(self, i, o, bilinear):
        super().__init__()
        if bilinear:
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=ALIGN_CORNERS)
            self.conv = double(i, o, i // 2)
        else:
            self.up = nn.ConvTranspose2d(i, i // 2, 2, stride=2)
            self.conv = double(i, o)

    def forward(self, x, skip):
        return self.conv(torch.cat([skip, self.up(x)], dim=1))
