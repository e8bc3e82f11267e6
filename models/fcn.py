"""FCN: Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", 2015."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from base.base_model import BaseModel
from models.vgg import FullyConvolutionalVGG, VGGName


class _FCN(BaseModel):
    """VGG with convolutional fc6 and fc7, score layers, and up-sampling by fixed bilinear deconvolutions.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        backbone: which VGG.
        pretrained: ImageNet weights, fc6 and fc7 included: true for torchvision's, or the path of such a file.
        learn_upsampling: train the deconvolutions, which the authors fix because they found no gain.
    """

    stride = 32
    skips: int  # number of fused stages: 1 is pool4, 2 is pool4 and pool3

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        backbone: VGGName = "vgg16",
        pretrained: bool | str = True,
        learn_upsampling: bool = False,
    ) -> None:
        super().__init__(num_classes, in_channels)
        self.backbone = FullyConvolutionalVGG(backbone, in_channels, pretrained)
        pool3, pool4, fc7 = self.backbone.channels
        self.score_fr = _score(fc7, num_classes)
        if self.skips >= 1:
            self.score_pool4 = _score(pool4, num_classes)
            self.upscore2 = _bilinear(num_classes, 2)
        if self.skips == 2:
            self.score_pool3 = _score(pool3, num_classes)
            self.upscore_pool4 = _bilinear(num_classes, 2)
        self.upscore = _bilinear(num_classes, 32 >> self.skips)
        for layer in self.modules():
            if isinstance(layer, nn.ConvTranspose2d):
                layer.requires_grad_(learn_upsampling)

    def _forward(self, images: Tensor) -> Tensor:
        pool3, pool4, fc7 = self.backbone(images)
        score = self.score_fr(fc7)  # N, C, H/32, W/32
        if self.skips >= 1:
            score = self.upscore2(score) + self.score_pool4(pool4)  # N, C, H/16, W/16
        if self.skips == 2:
            score = self.upscore_pool4(score) + self.score_pool3(pool3)  # N, C, H/8, W/8
        logits: Tensor = self.upscore(score)
        return logits  # N, C, H, W


class FCN32s(_FCN):
    """FCN without skips: 136,152,917 parameters on vgg16 for 21 classes."""

    skips = 0


class FCN16s(_FCN):
    """FCN that fuses pool4: 134,815,994 parameters on vgg16 for 21 classes."""

    skips = 1


class FCN8s(_FCN):
    """FCN that fuses pool4 and pool3: 134,489,759 parameters on vgg16 for 21 classes."""

    skips = 2


def _score(channels: int, num_classes: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, num_classes, 1)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)  # as in the authors' code
    return layer


def _bilinear(num_classes: int, factor: int) -> nn.ConvTranspose2d:
    """Deconvolution that starts as bilinear interpolation of each class's score, by ``factor``."""
    layer = nn.ConvTranspose2d(num_classes, num_classes, 2 * factor, factor, padding=factor // 2, bias=False)
    ramp = 1 - (torch.arange(2 * factor) + 0.5 - factor).abs() / factor
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[range(num_classes), range(num_classes)] = torch.outer(ramp, ramp)
    return layer
