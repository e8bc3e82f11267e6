"""VGG: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from models.pretrained import load_pretrained
from utils.lazy import lazy_import

tv = lazy_import("torchvision.models")

VGGName = Literal[
    "vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"
]


class FullyConvolutionalVGG(nn.Module):
    """VGG with its two hidden classifier layers as convolutions, as FCN uses it.

    Args:
        name: which VGG of torchvision.
        in_channels: channels of the images.
        pretrained: ImageNet weights: true for torchvision's, or the path of such a file.
    """

    def __init__(self, name: VGGName, in_channels: int = 3, pretrained: bool | str = False) -> None:
        super().__init__()
        source = getattr(tv, name)(weights=None, init_weights=False)
        if pretrained:
            load_pretrained(source, pretrained, name)
        layers = list(source.features)
        if in_channels != 3:
            layers[0] = _adapted(layers[0], in_channels, bool(pretrained))
        ends = [i + 1 for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
        self.to_pool3 = nn.Sequential(*layers[: ends[2]])
        self.to_pool4 = nn.Sequential(*layers[ends[2] : ends[3]])
        self.to_pool5 = nn.Sequential(*layers[ends[3] :])
        self.fc6 = nn.Conv2d(512, 4096, 7, padding=3)
        self.fc7 = nn.Conv2d(4096, 4096, 1)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        if pretrained:
            with torch.no_grad():
                for convolution, linear in ((self.fc6, source.classifier[0]), (self.fc7, source.classifier[3])):
                    convolution.weight.copy_(linear.weight.view_as(convolution.weight))
                    convolution.bias.copy_(linear.bias)
        else:
            _initialise(self)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features at stride 8 (256 channels), 16 (512) and 32 (4096)."""
        pool3 = self.to_pool3(images)  # N, 256, H/8, W/8
        pool4 = self.to_pool4(pool3)  # N, 512, H/16, W/16
        pool5 = self.to_pool5(pool4)  # N, 512, H/32, W/32
        fc6 = self.drop(self.relu(self.fc6(pool5)))
        fc7 = self.drop(self.relu(self.fc7(fc6)))  # N, 4096, H/32, W/32
        return pool3, pool4, fc7


def _adapted(convolution: nn.Conv2d, in_channels: int, pretrained: bool) -> nn.Conv2d:
    first = nn.Conv2d(in_channels, convolution.out_channels, 3, padding=1)
    if pretrained:
        with torch.no_grad():
            repeated = convolution.weight.mean(dim=1, keepdim=True).repeat(1, in_channels, 1, 1)
            first.weight.copy_(repeated * 3 / in_channels)
            first.bias.copy_(convolution.bias)
    return first


def _initialise(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
