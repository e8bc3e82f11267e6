"""Aligned Xception: Chollet, "Xception", 2017, as modified by Chen et al. for DeepLab V3+, 2018."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import init_weights
from models.features import Backbone
from models.pretrained import adapt_first, load_file


class XceptionEncoder(Backbone):
    """Xception-65 with strided separable convolutions instead of pooling, dilated to an output stride.

    Args:
        in_channels: channels of the images.
        pretrained: the path of weights saved from this class, or false.
        output_stride: 16 or 8.
        depthwise_relu: ReLU after the norm of every depthwise convolution, as in DeepLab V3+, and after the stem.

    Raises:
        ValueError: ``pretrained`` is true, but no weights with a checksum are published.
    """

    channels = (64, 128, 2048)

    def __init__(
        self,
        in_channels: int = 3,
        pretrained: bool | str = False,
        output_stride: int = 16,
        depthwise_relu: bool = True,
    ) -> None:
        super().__init__()
        if pretrained is True:
            raise ValueError(
                "pretrained: torchvision has no Xception; give a file as 'pretrained', set it to false, or "
                "choose a resnet"
            )
        rate = 16 // output_stride
        self.reductions, self.stride = (2, 4, output_stride), output_stride
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 64, 3, 1, 1, bias=False),
            nn.BatchNorm2d(64),
            *([nn.ReLU(inplace=True)] if depthwise_relu else []),
        )
        self.entry1 = _Block([64, 128, 128, 128], stride=2)
        self.entry2 = nn.Sequential(
            _Block([128, 256, 256, 256], stride=2), _Block([256, 728, 728, 728], stride=2 if rate == 1 else 1)
        )
        self.middle = nn.Sequential(*(_Block([728] * 4, dilation=rate) for _ in range(16)))
        self.exit = nn.Sequential(
            _Block([728, 728, 1024, 1024], dilation=rate),
            *(
                nn.Sequential(_Separable(a, b, dilation=2 * rate), nn.BatchNorm2d(b), nn.ReLU(inplace=True))
                for a, b in ((1024, 1536), (1536, 1536), (1536, 2048))
            ),
        )
        for layer in self.modules():
            if isinstance(layer, _Separable):
                layer.relu = depthwise_relu
        init_weights(self)
        if pretrained:
            self.normalisation = load_file(self, pretrained).for_channels(in_channels)
        adapt_first(self, in_channels, bool(pretrained))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features (N, channels, H/s, W/s) at strides s of 2, 4 and the output stride."""
        stem = self.stem(images)  # N, 64, H/2, W/2
        low = self.entry1(stem)  # N, 128, H/4, W/4
        high = self.exit(self.middle(self.entry2(low)))  # N, 2048, H/16, W/16
        return [stem, low, high]


class _Block(nn.Module):
    """Residual block of three separable convolutions, each after a ReLU."""

    def __init__(self, widths: list[int], stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, (a, b) in enumerate(pairwise(widths)):
            last = index == len(widths) - 2
            layers += [nn.ReLU(), _Separable(a, b, stride if last else 1, dilation), nn.BatchNorm2d(b)]
        self.body = nn.Sequential(*layers)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or widths[0] != widths[-1]:
            self.shortcut = nn.Sequential(
                nn.Conv2d(widths[0], widths[-1], 1, stride, bias=False), nn.BatchNorm2d(widths[-1])
            )

    def forward(self, features: Tensor) -> Tensor:
        summed: Tensor = self.body(features) + self.shortcut(features)
        return summed


class _Separable(nn.Sequential):
    """Depthwise 3x3 convolution with batch norm and (with ``relu``) ReLU, then a pointwise one."""

    relu = True

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__(
            nn.Conv2d(
                in_channels, in_channels, 3, stride, dilation, dilation, groups=in_channels, bias=False
            ),
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
        )

    def forward(self, features: Tensor) -> Tensor:
        depthwise, norm, pointwise = self
        normed: Tensor = norm(depthwise(features))
        mixed: Tensor = pointwise(F.relu(normed) if self.relu else normed)
        return mixed
