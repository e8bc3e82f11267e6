"""DeepLab V3+: Chen, Zhu, Papandreou, Schroff, Adam, "Encoder-Decoder with Atrous Separable Convolution
for Semantic Image Segmentation", 2018."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from base.base_model import BaseModel
from models.backbone import build_backbone, check_backbone
from models.blocks import AtrousPyramid, conv_bn_relu, init_weights, resize_like
from models.features import Backbone
from models.xception import XceptionEncoder

RATES = {16: (6, 12, 18), 8: (12, 24, 36)}  # dilation of the pyramid by output stride, as in the paper


class DeepLab(BaseModel):
    """DeepLab V3+ on a ResNet, on aligned Xception, or on a network of timm.

    With plain convolutions in pyramid and decoder, for 21 classes: 40,352,181 parameters on resnet50, 59,344,309
    on resnet101, 54,705,317 on Xception.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        backbone: ``xception``, a ResNet, or ``timm/NAME`` for a network of timm that can be dilated.
        pretrained: weights of the backbone: true for those of its library, false, a file or ``pip:PACKAGE``;
            ``None``: true for ResNets, false for timm. For Xception only a file, since no weights with a
            checksum are published.
        output_stride: 16, or 8 for finer features at about three times the cost.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        backbone: str = "resnet50",
        pretrained: bool | str | None = None,
        output_stride: Literal[8, 16] = 16,
    ) -> None:
        super().__init__(num_classes, in_channels)
        if backbone == "xception":
            wanted = True if pretrained is None else pretrained
            encoder: Backbone = XceptionEncoder(in_channels, wanted, output_stride)
        else:
            encoder = build_backbone(backbone, in_channels, pretrained, output_stride)
        self.backbone, self.stride = encoder, encoder.stride
        (self._low,) = encoder.levels(4)
        low, high = encoder.channels[self._low], encoder.channels[-1]
        self.pyramid = AtrousPyramid(high, RATES[output_stride])
        self.reduce = conv_bn_relu(low, 48, 1)
        self.head = fusing_head(48 + 256, num_classes)
        init_weights(self.pyramid, self.reduce, self.head)

    @classmethod
    def check_arguments(cls, args: Mapping[str, Any], path: str) -> list[str]:
        """Return the mistakes that the types of the arguments do not show."""
        return check_backbone(args, path, ("xception",))

    def _forward(self, images: Tensor) -> Tensor:
        features = self.backbone(images)
        low = self.reduce(features[self._low])  # N, 48, H/4, W/4
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
