"""SegNet: Badrinarayanan, Kendall, Cipolla, "SegNet: A Deep Convolutional Encoder-Decoder Architecture", 2017."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from base.base_model import BaseModel, SegmentationOutput
from models.auxiliary import auxiliary_head, with_auxiliary
from models.blocks import conv_bn_relu, damp_residuals, init_weights
from models.pretrained import adapt_first, load_pretrained
from models.resnet import ResNetEncoder
from utils.config.annotations import Fraction
from utils.system.lazy import lazy_import

tv = lazy_import("torchvision.models")


class SegNet(BaseModel):
    """VGG16's convolutions and a mirrored decoder that unpools to the positions of the maxima.

    It has 29,449,355 parameters for 11 classes, like the authors' network. The backbone is torchvision's vgg16_bn.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        pretrained: ImageNet weights: true for torchvision's, or the path of such a file.
        use_aux: train an auxiliary head on the decoder's features of stride 8 (``trainer.aux_weight``).
    """

    stride = 32

    def __init__(
        self, num_classes: int, in_channels: int = 3, pretrained: bool | str = True, use_aux: bool = False
    ) -> None:
        super().__init__(num_classes, in_channels)
        net = tv.vgg16_bn(weights=None, init_weights=False)
        if pretrained:
            loaded = load_pretrained(net, pretrained, "vgg16_bn")
            self.normalisation = loaded.normalisation.for_channels(in_channels)
        else:
            init_weights(net.features)
        adapt_first(net, in_channels, bool(pretrained))
        self.backbone = nn.ModuleList()  # one stage per level, each before its pooling
        stage: list[nn.Module] = []
        for layer in net.features:
            if isinstance(layer, nn.MaxPool2d):
                self.backbone.append(nn.Sequential(*stage))
                stage = []
            else:
                stage.append(layer)
        self.decoder = nn.ModuleList(
            nn.Sequential(*(conv_bn_relu(a, b, bias=True) for a, b in pairwise(w)))
            for w in (
                (512, 512, 512, 512),
                (512, 512, 512, 256),
                (256, 256, 256, 128),
                (128, 128, 64),
                (64, 64),
            )
        )
        self.classifier = nn.Conv2d(64, num_classes, 3, padding=1)
        init_weights(self.decoder, self.classifier)
        self.aux = auxiliary_head(256, num_classes) if use_aux else None

    def _forward(self, images: Tensor) -> Tensor | SegmentationOutput:
        features, places = images, []
        for stage in self.backbone.children():
            features, place = pool(stage(features))
            places.append(place)
        middle = features
        for level, stage in enumerate(self.decoder.children()):  # N, 512, H/32, W/32 -> N, 64, H, W
            features = stage(unpool(features, places.pop()))
            if level == 1:
                middle = features  # N, 256, H/8, W/8
        return with_auxiliary(self, self.classifier(features), middle)  # N, num_classes, H, W


class SegResNet(BaseModel):
    """SegNet's idea on a ResNet: a mirrored decoder of bottlenecks, unpooled at the entrance.

    On resnet50 for 21 classes it has 53,564,309 parameters, like the template family's. ResNet pools over
    overlapping windows, which unpooling cannot invert; here the decoder unpools to the position of the largest
    value in every 2x2 cell of the same features.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        backbone: which ResNet.
        pretrained: ImageNet weights: true for torchvision's, or the path of such a file.
        drop_path: stochastic depth: probability that training skips the last residual block of the backbone for
            an image; earlier ones have less in proportion.
        use_aux: train an auxiliary head on the backbone's features of stride 16 (``trainer.aux_weight``).
    """

    stride = 32

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        backbone: Literal["resnet50", "resnet101", "resnet152"] = "resnet50",
        pretrained: bool | str = True,
        drop_path: Fraction = 0.0,
        use_aux: bool = False,
    ) -> None:
        super().__init__(num_classes, in_channels)
        self.backbone = ResNetEncoder(backbone, in_channels, pretrained, drop_path=drop_path)
        self.num_layers = self.backbone.num_layers
        layers = [self.backbone.layer4, self.backbone.layer3, self.backbone.layer2, self.backbone.layer1]
        stages: list[nn.Module] = []
        for layer, width, out in zip(layers, (2048, 1024, 512, 256), (1024, 512, 256, 64), strict=True):
            same = (tv.resnet.Bottleneck(width, width // 4) for _ in range(len(layer) - 1))
            stages += [*same, _Shrink(width, out, double=out != 64)]
        self.decoder = nn.Sequential(*stages)
        self.head = nn.Sequential(
            nn.ConvTranspose2d(64, 64, 2, 2, bias=False), nn.Conv2d(64, num_classes, 3, padding=1)
        )
        init_weights(self.decoder, self.head)
        damp_residuals(self.decoder)
        self.aux = auxiliary_head(self.backbone.channels[-2], num_classes) if use_aux else None

    def _forward(self, images: Tensor) -> Tensor | SegmentationOutput:
        features = self.backbone(images)
        place = pool(features[0])[1]  # cells of the stem's features: N, 64, H/4, W/4
        decoded = self.decoder(features[-1])  # N, 64, H/4, W/4
        logits = self.head(unpool(decoded, place))  # N, num_classes, H, W
        return with_auxiliary(self, logits, features[-2])


class _Shrink(nn.Module):
    """Bottleneck that narrows its features and (with ``double``) doubles their size."""

    def __init__(self, in_channels: int, out_channels: int, double: bool) -> None:
        super().__init__()
        middle = in_channels // 4

        def resample(a: int, b: int, plain: int) -> nn.Module:
            if double:
                return nn.ConvTranspose2d(a, b, 2, 2, bias=False)
            return nn.Conv2d(a, b, plain, padding=plain // 2, bias=False)

        self.body = nn.Sequential(
            conv_bn_relu(in_channels, middle, 1),
            resample(middle, middle, 3),
            nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut = nn.Sequential(resample(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels))

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(self.body(features) + self.shortcut(features))


def pool(features: Tensor) -> tuple[Tensor, Tensor]:
    """2x2 max pooling of (N, C, H, W), and the pixel of each cell (0..3, row by row) that held the maximum."""
    pooled, index = F.max_pool2d(features, 2, return_indices=True)
    width = features.shape[-1]  # even, so the parity of a flat index is the parity of its column
    return pooled, (index // width % 2) * 2 + index % 2


def unpool(features: Tensor, place: Tensor) -> Tensor:
    """Put every value on the pixel that :func:`pool` found, 0 on the other three.

    It is a product, because torch refuses its own unpooling in deterministic mode.

    Args:
        features: (N, C, h, w).
        place: (N, C, h, w) integers 0..3.

    Returns:
        (N, C, 2h, 2w).
    """
    n, c, h, w = features.shape
    corner = torch.arange(4, device=features.device)
    cells = features[..., None] * (place[..., None] == corner)  # N, C, h, w, 4
    return cells.view(n, c, h, w, 2, 2).permute(0, 1, 2, 4, 3, 5).reshape(n, c, 2 * h, 2 * w)
