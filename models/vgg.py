"""VGG: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from models.blocks import initialise
from models.pretrained import adapt_first, load_pretrained
from models.wide_conv import WideConv2d
from utils.lazy import lazy_import

tv = lazy_import("torchvision.models")

VGGName = Literal["vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"]


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
        adapt_first(source, in_channels, bool(pretrained))
        layers = list(source.features)
        ends = [i + 1 for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
        self.to_pool3 = nn.Sequential(*layers[: ends[2]])
        self.to_pool4 = nn.Sequential(*layers[ends[2] : ends[3]])
        self.to_pool5 = nn.Sequential(*layers[ends[3] :])
        self.fc6 = WideConv2d(512, 4096, 7)
        self.fc7 = WideConv2d(4096, 4096, 1)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        if pretrained:
            with torch.no_grad():
                for convolution, linear in (
                    (self.fc6, source.classifier[0]),
                    (self.fc7, source.classifier[3]),
                ):
                    pretrained_layer = {
                        "weight": linear.weight.view_as(convolution.weight),
                        "bias": linear.bias,
                    }
                    convolution.load_state_dict(pretrained_layer)
        else:
            initialise(self)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features at stride 8 (256 channels), 16 (512) and 32 (4096)."""
        pool3 = self.to_pool3(images)  # N, 256, H/8, W/8
        pool4 = self.to_pool4(pool3)  # N, 512, H/16, W/16
        pool5 = self.to_pool5(pool4)  # N, 512, H/32, W/32
        fc6 = self.drop(self.relu(self.fc6(pool5)))
        fc7 = self.drop(self.relu(self.fc7(fc6)))  # N, 4096, H/32, W/32
        return pool3, pool4, fc7
