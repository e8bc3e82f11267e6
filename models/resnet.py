"""ResNet features: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2016."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from models.blocks import conv_bn_relu, damp_residuals, init_weights
from models.features import Backbone
from models.pretrained import adapt_first, load_pretrained
from models.stochastic_depth import drop_residuals
from utils.system.lazy import lazy_import

tv = lazy_import("torchvision.models")

ResNetName = Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]


class ResNetEncoder(Backbone):
    """torchvision's ResNet as a pyramid of features, dilated to an output stride.

    Args:
        name: which ResNet of torchvision.
        in_channels: channels of the images.
        pretrained: ImageNet weights: true for torchvision's, or the path of such a file.
        output_stride: 32, 16 or 8; below 32 the last stages are dilated instead of strided.
        deep_stem: three 3x3 convolutions instead of the 7x7 one, as in PSPNet; torchvision has no
            weights for it.
        drop_path: stochastic depth of the last block; earlier ones have less in proportion.

    Raises:
        ValueError: the output stride is not offered, or ``pretrained`` is true with a deep stem.
    """

    def __init__(
        self,
        name: ResNetName,
        in_channels: int = 3,
        pretrained: bool | str = False,
        output_stride: int = 32,
        deep_stem: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if deep_stem and pretrained is True:
            raise ValueError(
                "deep_stem: torchvision has no such weights; give a file as 'pretrained', or set it to false"
            )
        net = getattr(tv, name)(weights=None)
        if deep_stem:
            _deepen(net)
        damp_residuals(net)
        if pretrained:
            loaded = load_pretrained(net, pretrained, name)
            self.normalisation = loaded.normalisation.for_channels(in_channels)
        adapt_first(net, in_channels, bool(pretrained))
        dilate_to(net, output_stride)
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu)
        self.maxpool = net.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        drop_residuals([*net.layer1, *net.layer2, *net.layer3, *net.layer4], drop_path)
        wide = net.fc.in_features
        self.channels = (net.bn1.num_features, wide // 8, wide // 4, wide // 2, wide)
        self.reductions = tuple(min(stride, output_stride) for stride in (2, 4, 8, 16, 32))
        self.stride = output_stride

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features (N, channels, H/s, W/s) at strides s of 2, 4, 8, 16, 32, limited to the output stride."""
        features = [self.stem(images)]
        features.append(self.layer1(self.maxpool(features[0])))
        for layer in (self.layer2, self.layer3, self.layer4):
            features.append(layer(features[-1]))
        return features


def dilate_to(net: Any, output_stride: int) -> None:
    """Replace the strides of the last stages of a torchvision ResNet by dilation.

    This is torchvision's rule (the first block keeps the dilation of the stage before), for basic blocks too.

    Raises:
        ValueError: ``output_stride`` is not 8, 16 or 32.
    """
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride {output_stride} is not offered; choose 8, 16 or 32")
    if output_stride == 8:
        dilate(net.layer3, [1, *[2] * (len(net.layer3) - 1)])
    if output_stride < 32:
        rate = 32 // output_stride
        dilate(net.layer4, [rate // 2, *[rate] * (len(net.layer4) - 1)])


def dilate(layer: nn.Sequential, rates: Sequence[int]) -> None:
    """Remove the stride of a stage and dilate its 3x3 convolutions; the blocks take the rates in turn."""
    for index, block in enumerate(layer):
        rate = rates[index % len(rates)]
        for convolution in block.modules():
            if isinstance(convolution, nn.Conv2d):
                convolution.stride = (1, 1)
                if convolution.kernel_size == (3, 3):
                    convolution.dilation = convolution.padding = (rate, rate)


def _deepen(net: Any) -> None:
    """Give a torchvision ResNet the stem of PSPNet: 3x3 convolutions with 64, 64 and 128 channels."""
    net.conv1 = nn.Sequential(
        conv_bn_relu(3, 64, stride=2), conv_bn_relu(64, 64), nn.Conv2d(64, 128, 3, padding=1, bias=False)
    )
    net.bn1 = nn.BatchNorm2d(128)
    first = net.layer1[0]
    first.conv1 = nn.Conv2d(
        128, first.conv1.out_channels, first.conv1.kernel_size, padding=first.conv1.padding, bias=False
    )
    out_channels = (first.bn3 if hasattr(first, "bn3") else first.bn2).num_features
    first.downsample = nn.Sequential(
        nn.Conv2d(128, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
    )
    init_weights(net.conv1, net.bn1, first.conv1, first.downsample)
