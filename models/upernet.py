"""UPerNet: Xiao, Liu, Zhou, Jiang, Sun, "Unified Perceptual Parsing for Scene Understanding", 2018."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from base.base_model import BaseModel
from models.blocks import PyramidPooling, conv_bn_relu, init_weights, resize_like
from models.resnet import ResNetEncoder, ResNetName
from utils.config.annotations import PositiveInt


class UperNet(BaseModel):
    """Pyramid pooling on top of a feature pyramid, all levels fused (the paper's object branch).

    For 21 classes it has 108,304,725 parameters on resnet50 and 127,296,853 on resnet101: 1,180,160 more than
    the template family's 107,124,565 and 126,116,693, whose three smoothing convolutions share their weights.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        backbone: which ResNet.
        pretrained: ImageNet weights: true for torchvision's, or the path of such a file.
        fpn_channels: channels of every level of the pyramid.
    """

    stride = 32

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        backbone: ResNetName = "resnet101",
        pretrained: bool | str = True,
        fpn_channels: PositiveInt = 256,
    ) -> None:
        super().__init__(num_classes, in_channels)
        self.backbone = ResNetEncoder(backbone, in_channels, pretrained)
        channels = self.backbone.channels[1:]
        pyramid = PyramidPooling(channels[-1], channels[-1] // 4)
        self.top = nn.Sequential(pyramid, conv_bn_relu(pyramid.channels, channels[-1]), nn.Dropout2d(0.1))
        self.lateral = nn.ModuleList(
            nn.Identity() if c == fpn_channels else nn.Conv2d(c, fpn_channels, 1) for c in channels
        )
        self.smooth = nn.ModuleList(nn.Conv2d(fpn_channels, fpn_channels, 3, padding=1) for _ in range(3))
        self.fuse = conv_bn_relu(4 * fpn_channels, fpn_channels)
        self.head = nn.Conv2d(fpn_channels, num_classes, 3, padding=1)
        init_weights(self.top, self.lateral, self.smooth, self.fuse, self.head)

    def _forward(self, images: Tensor) -> Tensor:
        features = self.backbone(images)[1:]
        features[-1] = self.top(features[-1])
        levels = [lateral(f) for lateral, f in zip(self.lateral, features, strict=True)]
        for i in (2, 1, 0):  # top down: strides 16, 8, 4
            levels[i] = levels[i] + resize_like(levels[i + 1], levels[i])
        smooth = [s(level) for s, level in zip(self.smooth, levels, strict=False)] + [levels[3]]
        fused = self.fuse(torch.cat([resize_like(level, smooth[0]) for level in smooth], dim=1))
        logits: Tensor = self.head(fused)
        return logits  # N, num_classes, H/4, W/4
