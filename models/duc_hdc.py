"""DUC and HDC: Wang, Chen, Yuan, Liu, Huang, Hou, Cottrell, "Understanding Convolution for Semantic
Segmentation", 2018, on DeepLab V3+."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from base.base_model import BaseModel, SegmentationOutput
from models.auxiliary import auxiliary_head, with_auxiliary
from models.blocks import AtrousPyramid, conv_bn_relu, init_weights
from models.deeplab import fusing_head
from models.resnet import ResNetEncoder, dilate
from utils.config.annotations import Fraction


class DeepLab_DUC_HDC(BaseModel):
    """DeepLab V3+ with hybrid dilation in the backbone and learnt up-sampling (pixel shuffle).

    On resnet101 for 21 classes it has 69,185,173 parameters, 336 fewer than the template family's 69,185,509:
    the last up-sampling ends in a bias instead of batch norm and a ReLU, which would cut off every negative
    logit.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        backbone: which ResNet.
        pretrained: ImageNet weights: true for torchvision's, or the path of such a file.
        drop_path: stochastic depth: probability that training skips the last residual block of the backbone for
            an image; earlier ones have less in proportion.
        use_aux: train an auxiliary head on the backbone's third stage (``trainer.aux_weight``).
    """

    stride = 8

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        backbone: Literal["resnet50", "resnet101", "resnet152"] = "resnet101",
        pretrained: bool | str = True,
        drop_path: Fraction = 0.0,
        use_aux: bool = False,
    ) -> None:
        super().__init__(num_classes, in_channels)
        self.backbone = ResNetEncoder(backbone, in_channels, pretrained, drop_path=drop_path)
        self.num_layers = self.backbone.num_layers
        dilate(self.backbone.layer3, [1, 2, 3])  # rates without a common factor sample every pixel
        dilate(self.backbone.layer4, [3, 4, 5])
        self.pyramid = AtrousPyramid(2048, (6, 12, 18, 24, 36))
        self.up = nn.Sequential(*conv_bn_relu(256, 1024, 1), nn.PixelShuffle(2))
        self.reduce = conv_bn_relu(256, 48, 1)
        self.head = fusing_head(48 + 256, num_classes)
        self.last = nn.Sequential(nn.Conv2d(num_classes, 16 * num_classes, 1), nn.PixelShuffle(4))
        init_weights(self.pyramid, self.up, self.reduce, self.head, self.last)
        _same_for_every_pixel(self.up[0], 4)
        _same_for_every_pixel(self.last[0], 16)
        self.aux = auxiliary_head(self.backbone.channels[-2], num_classes) if use_aux else None

    def _forward(self, images: Tensor) -> Tensor | SegmentationOutput:
        features = self.backbone(images)
        low = self.reduce(features[1])  # N, 48, H/4, W/4
        high = self.up(self.pyramid(features[-1]))  # N, 256, H/4, W/4
        logits = self.last(self.head(torch.cat([low, high], dim=1)))  # N, num_classes, H, W
        return with_auxiliary(self, logits, features[-2])


def _same_for_every_pixel(convolution: nn.Module, pixels: int) -> None:
    """Give the channels of one shuffled cell equal initial weights, against checkerboards: Aitken et al., 2017."""
    weight = convolution.weight
    with torch.no_grad():
        assert isinstance(weight, Tensor)
        weight.copy_(weight[::pixels].repeat_interleave(pixels, dim=0))
