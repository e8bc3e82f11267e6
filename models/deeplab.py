"""DeepLab V3+: Chen, Zhu, Papandreou, Schroff, Adam, "Encoder-Decoder with Atrous Separable Convolution
for Semantic Image Segmentation", 2018."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from base.base_model import BaseModel, SegmentationOutput
from models.auxiliary import auxiliary_head, with_auxiliary
from models.backbone import build_backbone, check_backbone
from models.blocks import AtrousPyramid, conv_bn_relu, init_weights, resize_like, separable_bn_relu
from models.features import Backbone
from models.resnet import ResNetEncoder, dilate
from models.xception import XceptionEncoder
from utils.config.annotations import Fraction, PositiveInt

XCEPTIONS = ("xception", "xception_linear")
RATES = {16: (6, 12, 18), 8: (12, 24, 36)}  # dilation of the pyramid by output stride, as in the paper


class DeepLab(BaseModel):
    """DeepLab V3+ on a ResNet, on aligned Xception, or on a network of timm.

    With plain convolutions in pyramid and decoder, for 21 classes: 40,352,181 parameters on resnet50, 59,344,309
    on resnet101, 54,705,317 on Xception. ``separable`` convolutions have 26,696,133, 45,688,261 and 41,049,269.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        backbone: a ResNet, ``timm/NAME`` for a network of timm that can be dilated, ``xception``, or
            ``xception_linear``: Xception of version 1, without ReLUs after depthwise convolutions and stem.
        pretrained: weights of the backbone: true for those of its library, false, a file or ``pip:PACKAGE``;
            ``None``: true for ResNets, false for timm. For Xception only a file, since no weights with a
            checksum are published.
        output_stride: 16, or 8 for finer features at about three times the cost.
        separable: depthwise-separable 3x3 convolutions in pyramid and decoder, as in the paper.
        multi_grid: dilations of the blocks of a ResNet's last stage, times that of the stage: ``[1, 2, 4]`` in
            DeepLab V3 (Chen et al., 2017).
        drop_path: stochastic depth: probability that training skips the last residual block of the backbone for
            an image; earlier ones have less in proportion.
        use_aux: train an auxiliary head on the backbone's last feature but one (``trainer.aux_weight``).

    Raises:
        ValueError: ``multi_grid`` without a ResNet, or not as long as its last stage; ``drop_path`` with a
            backbone that has no residual blocks to skip.
    """

    architecture_version = 2  # 2: Xception's ReLUs

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        backbone: str = "resnet50",
        pretrained: bool | str | None = None,
        output_stride: Literal[8, 16] = 16,
        separable: bool = False,
        multi_grid: list[PositiveInt] | None = None,
        drop_path: Fraction = 0.0,
        use_aux: bool = False,
    ) -> None:
        super().__init__(num_classes, in_channels)
        if backbone in XCEPTIONS:
            if drop_path:
                raise ValueError(f"drop_path: {backbone} has no stochastic depth; leave it out")
            wanted, relu = pretrained is None or pretrained, backbone == "xception"
            encoder: Backbone = XceptionEncoder(in_channels, wanted, output_stride, relu)
        else:
            encoder = build_backbone(backbone, in_channels, pretrained, output_stride, drop_path=drop_path)
        if multi_grid is not None:
            _dilate_blocks(encoder, multi_grid, 32 // output_stride)
        self.backbone, self.stride, self.num_layers = encoder, encoder.stride, encoder.num_layers
        (self._low,) = encoder.levels(4)
        low, high = encoder.channels[self._low], encoder.channels[-1]
        self.pyramid = AtrousPyramid(high, RATES[output_stride], separable=separable)
        self.reduce = conv_bn_relu(low, 48, 1)
        self.head = fusing_head(48 + 256, num_classes, separable)
        init_weights(self.pyramid, self.reduce, self.head)
        self.aux = auxiliary_head(encoder.channels[-2], num_classes) if use_aux else None

    @classmethod
    def check_arguments(cls, args: Mapping[str, Any], path: str) -> list[str]:
        """Return the mistakes that the types of the arguments do not show."""
        return check_backbone(args, path, XCEPTIONS)

    @classmethod
    def arguments_of_version(cls, version: int, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of today for version 1, whose Xception had fewer ReLUs."""
        if arguments.get("backbone") == "xception":
            return {**arguments, "backbone": "xception_linear"}
        return dict(arguments)

    def _forward(self, images: Tensor) -> Tensor | SegmentationOutput:
        features = self.backbone(images)
        low = self.reduce(features[self._low])  # N, 48, H/4, W/4
        high = resize_like(self.pyramid(features[-1]), low)  # N, 256, H/4, W/4
        logits = self.head(torch.cat([low, high], dim=1))  # N, num_classes, H/4, W/4
        return with_auxiliary(self, logits, features[-2])


def fusing_head(in_channels: int, num_classes: int, separable: bool = False) -> nn.Sequential:
    """Two 3x3 convolutions over fine and coarse features, then one logit per class: (N, num_classes, H, W)."""
    convolve = separable_bn_relu if separable else conv_bn_relu
    return nn.Sequential(
        convolve(in_channels, 256),
        convolve(256, 256),
        nn.Dropout(0.1),
        nn.Conv2d(256, num_classes, 1),
    )


def _dilate_blocks(encoder: nn.Module, grid: Sequence[int], rate: int) -> None:
    """Dilate the blocks of a ResNet's last stage by ``rate`` times the numbers of a grid.

    Raises:
        ValueError: the encoder is no ResNet, or its last stage has another number of blocks.
    """
    if not isinstance(encoder, ResNetEncoder):
        raise ValueError("multi_grid: dilates the last stage of a ResNet; leave it out for another backbone")
    if len(grid) != len(encoder.layer4):
        raise ValueError(
            f"multi_grid: has {len(grid)} numbers, but the last stage has {len(encoder.layer4)} blocks"
        )
    dilate(encoder.layer4, [rate * factor for factor in grid])
