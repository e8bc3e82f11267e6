"""PSPNet: Zhao, Shi, Qi, Wang, Jia, "Pyramid Scene Parsing Network", 2017."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from base.base_model import BaseModel, SegmentationOutput
from models.backbone import build_backbone, check_backbone
from models.blocks import PyramidPooling, conv_bn_relu, init_weights
from models.densenet import DenseNetEncoder, DenseNetName
from models.features import Backbone
from utils.config.annotations import Fraction


class _PSP(BaseModel):
    """Pyramid pooling head on any backbone whose last two features have stride 8."""

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        backbone: Backbone,
        use_aux: bool,
    ) -> None:
        super().__init__(num_classes, in_channels)
        if backbone.reductions[-2:] != (8, 8):
            raise ValueError(
                f"backbone: its last features have strides {backbone.reductions[-2:]}, not 8 and 8"
            )
        self.backbone, self.stride, self.num_layers = backbone, backbone.stride, backbone.num_layers
        middle, last = backbone.channels[-2:]
        width = last // 4
        self.pyramid = PyramidPooling(last, last // 4)
        self.head = nn.Sequential(
            conv_bn_relu(self.pyramid.channels, width), nn.Dropout2d(0.1), nn.Conv2d(width, num_classes, 1)
        )
        self.aux = None
        if use_aux:
            self.aux = nn.Sequential(
                conv_bn_relu(middle, middle // 4), nn.Dropout2d(0.1), nn.Conv2d(middle // 4, num_classes, 1)
            )
        init_weights(*(part for part in (self.pyramid, self.head, self.aux) if part is not None))

    @classmethod
    def check_arguments(cls, args: Mapping[str, Any], path: str) -> list[str]:
        """Return the mistakes that the types of the arguments do not show."""
        return check_backbone(args, path)

    def _forward(self, images: Tensor) -> SegmentationOutput:
        middle, last = self.backbone(images)[-2:]  # both H/8, W/8
        logits = self.head(self.pyramid(last))
        if self.aux is None or not self.training:
            return SegmentationOutput(logits)
        return SegmentationOutput(logits, (self.aux(middle),))


class PSPNet(_PSP):
    """Pyramid pooling on a backbone dilated to stride 8, with an auxiliary head on its third stage.

    With ``deep_stem`` it has the parameters of the authors' code: 49,081,578 on resnet50 and 68,073,706 on
    resnet101 for 21 classes. One thing differs: the first block of a dilated stage keeps the dilation of the
    stage before, as in torchvision, where the authors give it the stage's own. The default stem is torchvision's
    (123,776 parameters fewer), because ImageNet weights exist for that one. It takes any image size; the
    authors' code needs (side - 1) % 8 == 0.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        backbone: a ResNet, or ``timm/NAME`` for a network of timm that can be dilated to stride 8.
        pretrained: weights of the backbone: true for those of its library, false, a file or ``pip:PACKAGE``;
            ``None``: true for ResNets, false for timm.
        use_aux: whether training has the auxiliary head (``trainer.aux_weight``).
        deep_stem: three 3x3 convolutions at the entrance instead of a 7x7 one.
        drop_path: stochastic depth: probability that training skips the last residual block of the backbone for
            an image; earlier ones have less in proportion.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        backbone: str = "resnet50",
        pretrained: bool | str | None = None,
        use_aux: bool = True,
        deep_stem: bool = False,
        drop_path: Fraction = 0.0,
    ) -> None:
        encoder = build_backbone(
            backbone, in_channels, pretrained, output_stride=8, deep_stem=deep_stem, drop_path=drop_path
        )
        super().__init__(num_classes, in_channels, encoder, use_aux)


class PSPDenseNet(_PSP):
    """Pyramid pooling on a DenseNet of stride 8.

    On densenet201 for 21 classes it has 40,194,538 parameters. The template family's 42,290,282 differ by an
    auxiliary head of 480 instead of 224 channels (+2,070,272; here it is a quarter of its input, as in PSPNet),
    an entrance of 3x3 convolutions (+29,312; here DenseNet's own, for which ImageNet weights exist), and the
    missing last norm (-3,840; here it is used).

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        backbone: which DenseNet.
        pretrained: ImageNet weights: true for torchvision's, or the path of such a file.
        use_aux: whether training has the auxiliary head (``trainer.aux_weight``).
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        backbone: DenseNetName = "densenet201",
        pretrained: bool | str = True,
        use_aux: bool = True,
    ) -> None:
        encoder = DenseNetEncoder(backbone, in_channels, pretrained)
        super().__init__(num_classes, in_channels, encoder, use_aux)
