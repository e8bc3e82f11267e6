"""U-Net: Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from base.base_model import ALIGN_CORNERS, BaseModel, SegmentationOutput
from models.auxiliary import auxiliary_head, with_auxiliary
from models.backbone import build_backbone, check_backbone
from models.blocks import conv_bn_relu, init_weights
from utils.config.annotations import Fraction, PositiveInt


class UNet(BaseModel):
    """U-Net with batch norm and convolutions that keep the size (the paper's lose two pixels each).

    With the default width it has 31,037,698 parameters for 2 classes, 17,263,042 with ``bilinear``.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        bilinear: resize in the decoder instead of transposed convolutions, at half the width.
        base_channels: channels of the first level; each of the four levels below has twice as many.
        use_aux: train an auxiliary head on the decoder's features of stride 4 (``trainer.aux_weight``).
    """

    stride = 16

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        bilinear: bool = False,
        base_channels: PositiveInt = 64,
        use_aux: bool = False,
    ) -> None:
        super().__init__(num_classes, in_channels)
        widths = [base_channels * 2**level for level in range(5)]
        factor = 2 if bilinear else 1  # resizing has no weights that halve the channels
        widths[4] //= factor
        self.inc = _double(in_channels, widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), _double(widths[level], widths[level + 1])) for level in range(4)
        )
        self.up = nn.ModuleList()
        below = widths[4]
        for level in (3, 2, 1, 0):
            out_channels = widths[level] // (factor if level else 1)
            self.up.append(_Up(below, widths[level], out_channels, bilinear))
            below = out_channels
        self.outc = nn.Conv2d(widths[0], num_classes, 1)
        self.aux = auxiliary_head(widths[2] // factor, num_classes) if use_aux else None

    def _forward(self, images: Tensor) -> Tensor | SegmentationOutput:
        skips = [self.inc(images)]
        for down in self.down:
            skips.append(down(skips[-1]))
        features = middle = skips.pop()  # N, 16w, H/16, W/16
        for level, up in enumerate(self.up):
            features = up(features, skips.pop())
            if level == 1:
                middle = features  # N, 4w, H/4, W/4; half as many channels where resized
        return with_auxiliary(self, self.outc(features), middle)  # N, num_classes, H, W


class UNetBackbone(BaseModel):
    """U-Net's decoder on a ResNet or on a network of timm (``UNetResnet`` in earlier versions).

    The decoder is narrow (192 to 32 channels): every level is a 3x3 convolution and a transposed one that
    doubles the size, each with batch norm and ReLU. On resnet50 it has 29,878,048 parameters for 21 classes.
    Without ``decoder_norm``, the decoder is affine, as in version 1 and in the template family: 29,876,752
    parameters, and 30,000,528 with ``deep_stem``.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        backbone: a ResNet, or ``timm/NAME`` with features of strides 4, 8, 16 and 32.
        pretrained: weights of the backbone: true for those of its library, false, a file or ``pip:PACKAGE``;
            ``None``: true for ResNets, false for timm.
        deep_stem: three 3x3 convolutions at the entrance of a ResNet instead of a 7x7 one.
        decoder_norm: batch norm and ReLU after every convolution of the decoder.
        drop_path: stochastic depth: probability that training skips the last residual block of the backbone for
            an image; earlier ones have less in proportion.
        use_aux: train an auxiliary head on the backbone's features of stride 16 (``trainer.aux_weight``).

    Raises:
        ValueError: a backbone without the strides, or one without a deep stem.
    """

    architecture_version = 2  # 2: batch norm and ReLU in the decoder

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        backbone: str = "resnet50",
        pretrained: bool | str | None = None,
        deep_stem: bool = False,
        decoder_norm: bool = True,
        drop_path: Fraction = 0.0,
        use_aux: bool = False,
    ) -> None:
        super().__init__(num_classes, in_channels)
        encoder = build_backbone(backbone, in_channels, pretrained, deep_stem=deep_stem, drop_path=drop_path)
        self.backbone, self.stride, self.num_layers = encoder, encoder.stride, encoder.num_layers
        self._indices = encoder.levels(4, 8, 16, 32)
        c1, c2, c3, c4 = (encoder.channels[i] for i in self._indices)
        inputs, middles, outputs = (c4, 128 + c3, 96 + c2, 64 + c1), (192, 128, 96, 64), (128, 96, 64, 48)
        level = _normed_level if decoder_norm else _affine_level
        self.up = nn.ModuleList(map(level, inputs, middles, outputs))
        self.last = nn.Sequential(
            level(48, 48, 32),
            conv_bn_relu(32, 32) if decoder_norm else nn.Conv2d(32, 32, 3, padding=1),
            nn.Conv2d(32, num_classes, 1, bias=False),
        )
        init_weights(self.up, self.last)
        self.aux = auxiliary_head(c3, num_classes) if use_aux else None

    @classmethod
    def check_arguments(cls, args: Mapping[str, Any], path: str) -> list[str]:
        """Return the mistakes that the types of the arguments do not show."""
        return check_backbone(args, path)

    @classmethod
    def arguments_of_version(cls, version: int, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of today for version 1, whose decoder was affine."""
        return {**arguments, "decoder_norm": False}

    def _forward(self, images: Tensor) -> Tensor | SegmentationOutput:
        found = self.backbone(images)
        f1, f2, f3, features = (found[i] for i in self._indices)  # strides 4, 8, 16, 32
        for up, skip in zip(self.up, (f3, f2, f1), strict=False):
            features = torch.cat([up(features), skip], dim=1)
        return with_auxiliary(self, self.last(self.up[3](features)), f3)  # N, num_classes, H, W


class _Up(nn.Module):
    """Decoder level: doubles the size, appends the skip connection, convolves twice."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, bilinear: bool) -> None:
        super().__init__()
        self.up: nn.Module
        if bilinear:
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=ALIGN_CORNERS)
            joined = in_channels + skip_channels
            self.conv = _double(joined, out_channels, joined // 2)
        else:
            self.up = nn.ConvTranspose2d(in_channels, in_channels // 2, 2, stride=2)
            self.conv = _double(in_channels // 2 + skip_channels, out_channels)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        fused: Tensor = self.conv(torch.cat([skip, self.up(features)], dim=1))
        return fused


def _double(in_channels: int, out_channels: int, middle: int | None = None) -> nn.Sequential:
    middle = middle or out_channels
    return nn.Sequential(conv_bn_relu(in_channels, middle), conv_bn_relu(middle, out_channels))


def _normed_level(in_channels: int, middle: int, out_channels: int) -> nn.Sequential:
    """Convolve to ``middle`` channels, then double the size of the features."""
    return nn.Sequential(
        conv_bn_relu(in_channels, middle),
        nn.ConvTranspose2d(middle, out_channels, 4, 2, 1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def _affine_level(in_channels: int, middle: int, out_channels: int) -> nn.Sequential:
    """Do the same without norm and activation."""
    return nn.Sequential(
        nn.Conv2d(in_channels, middle, 3, padding=1),
        nn.ConvTranspose2d(middle, out_channels, 4, 2, 1, bias=False),
    )
