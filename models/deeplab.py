"""DeepLab V3+: Chen, Zhu, Papandreou, Schroff, Adam, "Encoder-Decoder with Atrous Separable Convolution
for Semantic Image Segmentation", 2018."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from base.base_model import BaseModel
from models.blocks import AtrousPyramid, conv_bn_relu, init_weights, resize_like
from models.resnet import ResNetEncoder
from models.xception import XceptionEncoder

RATES = {16: (6, 12, 18), 8: (12, 24, 36)}  # dilation of the pyramid by output stride, as in the paper


class DeepLab(BaseModel):
    """DeepLab V3+ on a ResNet or on aligned Xception.

    With plain convolutions in pyramid and decoder, for 21 classes: 40,352,181 parameters on resnet50, 59,344,309
    on resnet101, 54,705,317 on Xception.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        backbone: ``xception`` or a ResNet.
        pretrained: ImageNet weights: true for torchvision's, or the path of a file. For Xception only a
            file, since no weights with a checksum are published.
        output_stride: 16, or 8 for finer features at about three times the cost.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        backbone: Literal[
            "xception", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"
        ] = "resnet50",
        pretrained: bool | str = True,
        output_stride: Literal[8, 16] = 16,
    ) -> None:
        super().__init__(num_classes, in_channels)
        self.stride = output_stride
        self.backbone: nn.Module
        if backbone == "xception":
            self.backbone = XceptionEncoder(in_channels, pretrained, output_stride)
        else:
            self.backbone = ResNetEncoder(backbone, in_channels, pretrained, output_stride)
        low, high = self.backbone.channels[1], self.backbone.channels[-1]
        self.pyramid = AtrousPyramid(high, RATES[output_stride])
        self.reduce = conv_bn_relu(low, 48, 1)
        self.head = fusing_head(48 + 256, num_classes)
        init_weights(self.pyramid, self.reduce, self.head)

    def _forward(self, images: Tensor) -> Tensor:
        features = self.backbone(images)
        low = self.reduce(features[1])  # N, 48, H/4, W/4
        high = resize_like(self.pyramid(features[-1]), low)  # N, 256, H/4, W/4
        logits: Tensor = self.head(torch.cat([low, high], dim=1))
        return logits  # N, num_classes, H/4, W/4


def fusing_head(in_channels: int, num_classes: int) -> nn.Sequential:
    """Two 3x3 convolutions over fine and coarse features, then one logit per class: (N, num_classes, H, W)."""
    return nn.Sequential(
        conv_bn_relu(in_channels, 256),
        conv_bn_relu(256, 256),
        nn.Dropout(0.1),
        nn.Conv2d(256, num_classes, 1),
    )
