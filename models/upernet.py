"""UPerNet: Xiao, Liu, Zhou, Jiang, Sun, "Unified Perceptual Parsing for Scene Understanding", 2018."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from base.base_model import BaseModel, SegmentationOutput
from models.auxiliary import auxiliary_head, with_auxiliary
from models.backbone import build_backbone, check_backbone
from models.blocks import PyramidPooling, conv_bn_relu, init_weights, resize_like
from utils.config.annotations import Fraction, PositiveInt


class UperNet(BaseModel):
    """Pyramid pooling on top of a feature pyramid, all levels fused (the paper's object branch).

    For 21 classes it has 64,032,341 parameters on resnet50 and 83,024,469 on resnet101.

    In the layout of the template family, which version 1 had, convolutions of the pyramid have neither norm nor
    activation, pooling ends at the channels of the backbone, and a level that has ``fpn_channels`` already is not
    convolved. With 256 of them it has 108,304,725 and 127,296,853 parameters: 1,180,160 more than the family's
    107,124,565 and 126,116,693, whose three smoothing convolutions share their weights.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        backbone: a ResNet, or ``timm/NAME`` with features of strides 4, 8, 16 and 32.
        pretrained: weights of the backbone: true for those of its library, false, a file or ``pip:PACKAGE``;
            ``None``: true for ResNets, false for timm.
        fpn_channels: channels of every level of the pyramid.
        layout: that of the paper or of the template family.
        drop_path: stochastic depth: probability that training skips the last residual block of the backbone for
            an image; earlier ones have less in proportion.
        use_aux: train an auxiliary head on the backbone's features of stride 16 (``trainer.aux_weight``).

    Raises:
        ValueError: a backbone without the strides.
    """

    architecture_version = 2  # 2: the paper's layout

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        backbone: str = "resnet101",
        pretrained: bool | str | None = None,
        fpn_channels: PositiveInt = 512,
        layout: Literal["paper", "family"] = "paper",
        drop_path: Fraction = 0.0,
        use_aux: bool = False,
    ) -> None:
        super().__init__(num_classes, in_channels)
        encoder = build_backbone(backbone, in_channels, pretrained, drop_path=drop_path)
        self.backbone, self.stride, self.num_layers = encoder, encoder.stride, encoder.num_layers
        self._indices = encoder.levels(4, 8, 16, 32)
        channels = [encoder.channels[i] for i in self._indices]
        build = _paper if layout == "paper" else _family
        self.top, self.lateral, self.smooth, head = build(channels, fpn_channels, num_classes)
        self.fuse = conv_bn_relu(4 * fpn_channels, fpn_channels)
        self.head = head
        init_weights(self.top, self.lateral, self.smooth, self.fuse, self.head)
        self.aux = auxiliary_head(channels[2], num_classes) if use_aux else None

    @classmethod
    def check_arguments(cls, args: Mapping[str, Any], path: str) -> list[str]:
        """Return the mistakes that the types of the arguments do not show."""
        return check_backbone(args, path)

    @classmethod
    def arguments_of_version(cls, version: int, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of today for version 1, the template family's layout with 256 channels."""
        return {"fpn_channels": 256, **arguments, "layout": "family"}

    def _forward(self, images: Tensor) -> Tensor | SegmentationOutput:
        found = self.backbone(images)
        features = [found[i] for i in self._indices]
        middle = features[2]  # stride 16
        features[-1] = self.top(features[-1])
        levels = [lateral(f) for lateral, f in zip(self.lateral, features, strict=True)]
        for i in (2, 1, 0):  # top down: strides 16, 8, 4
            levels[i] = levels[i] + resize_like(levels[i + 1], levels[i])
        smooth = [s(level) for s, level in zip(self.smooth, levels, strict=False)] + [levels[3]]
        fused = self.fuse(torch.cat([resize_like(level, smooth[0]) for level in smooth], dim=1))
        return with_auxiliary(self, self.head(fused), middle)  # N, num_classes, H/4, W/4


# pooling on the last feature, laterals, smoothing, scores
_Parts = tuple[nn.Module, nn.ModuleList, nn.ModuleList, nn.Module]


def _paper(channels: Sequence[int], width: int, num_classes: int) -> _Parts:
    pyramid = PyramidPooling(channels[-1], width)
    laterals = [*(conv_bn_relu(c, width, 1) for c in channels[:-1]), nn.Identity()]
    return (
        nn.Sequential(pyramid, conv_bn_relu(pyramid.channels, width)),
        nn.ModuleList(laterals),
        nn.ModuleList(conv_bn_relu(width, width) for _ in range(3)),
        nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(width, num_classes, 1)),
    )


def _family(channels: Sequence[int], width: int, num_classes: int) -> _Parts:
    pyramid = PyramidPooling(channels[-1], channels[-1] // 4)
    laterals = (nn.Identity() if c == width else nn.Conv2d(c, width, 1) for c in channels)
    return (
        nn.Sequential(pyramid, conv_bn_relu(pyramid.channels, channels[-1]), nn.Dropout2d(0.1)),
        nn.ModuleList(laterals),
        nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(3)),
        nn.Conv2d(width, num_classes, 3, padding=1),
    )
