"""DenseNet features: Huang, Liu, van der Maaten, Weinberger, "Densely Connected Convolutional Networks", 2017."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from models.features import Backbone
from models.pretrained import adapt_first, load_pretrained
from utils.system.lazy import lazy_import

tv = lazy_import("torchvision.models")

DenseNetName = Literal["densenet121", "densenet161", "densenet169", "densenet201"]


class DenseNetEncoder(Backbone):
    """torchvision's DenseNet at stride 8: the last two blocks are dilated, without pooling before them.

    Args:
        name: which DenseNet of torchvision.
        in_channels: channels of the images.
        pretrained: ImageNet weights: true for torchvision's, or the path of such a file.
    """

    stride = 8
    reductions = (8, 8)

    def __init__(self, name: DenseNetName, in_channels: int = 3, pretrained: bool | str = False) -> None:
        super().__init__()
        net = getattr(tv, name)(weights=None)
        if pretrained:
            loaded = load_pretrained(net, pretrained, name)
            self.normalisation = loaded.normalisation.for_channels(in_channels)
        adapt_first(net, in_channels, bool(pretrained))
        features = net.features
        for transition in (features.transition2, features.transition3):
            transition.pool = nn.Identity()
        for block, rate in ((features.denseblock3, 2), (features.denseblock4, 4)):
            for layer in block.modules():
                if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
                    layer.dilation = layer.padding = (rate, rate)
        parts = dict(features.named_children())
        last = [parts.pop(key) for key in ("denseblock4", "norm5")]
        self.first = nn.Sequential(*parts.values())
        self.last = nn.Sequential(*last, nn.ReLU(inplace=True))
        self.channels = (features.transition3.conv.out_channels, net.classifier.in_features)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features before and after the last block, both (N, channels, H/8, W/8)."""
        middle = self.first(images)
        return [middle, self.last(middle)]
