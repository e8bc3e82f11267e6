"""Segmentation networks of torchvision."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from base.base_model import BaseModel, SegmentationOutput
from models.pretrained import adapt_first, load_pretrained
from utils.system.lazy import lazy_import

tv = lazy_import("torchvision.models")

Name = Literal[
    "fcn_resnet50",
    "fcn_resnet101",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "deeplabv3_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large",
]
_BACKBONES = {"resnet50", "resnet101", "mobilenet_v3_large"}


class TV(BaseModel):
    """A segmentation network of torchvision behind this project's contract.

    With the auxiliary head, for 21 classes: fcn_resnet50 35,322,218 parameters, fcn_resnet101 54,314,346,
    deeplabv3_resnet50 42,004,074, deeplabv3_resnet101 60,996,202, deeplabv3_mobilenet_v3_large 11,029,328;
    lraspp_mobilenet_v3_large (which has no such head) 3,221,538.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        architecture: torchvision's name of the network.
        pretrained: ImageNet weights of the backbone: true for torchvision's, or the path of such a file.
        use_aux: whether training has the auxiliary head, where the network offers one.
    """

    stride = 8

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        architecture: Name = "deeplabv3_resnet50",
        pretrained: bool | str = True,
        use_aux: bool = True,
    ) -> None:
        super().__init__(num_classes, in_channels)
        options = {} if architecture.startswith("lraspp") else {"aux_loss": use_aux}
        build = getattr(tv.segmentation, architecture)
        network = build(weights=None, weights_backbone=None, num_classes=num_classes, **options)
        if pretrained:
            name = next(n for n in _BACKBONES if architecture.endswith(n))
            source = getattr(tv, name)(weights=None)
            loaded = load_pretrained(source, pretrained, name)
            self.normalisation = loaded.normalisation.for_channels(in_channels)
            inner = source.features if hasattr(source, "features") else source
            weights, own = inner.state_dict(), network.backbone.state_dict()  # without classifier
            network.backbone.load_state_dict({key: weights[key] for key in own})
        adapt_first(network.backbone, in_channels, bool(pretrained))
        self.backbone = network.backbone
        self.classifier: nn.Module = network.classifier
        self.aux_classifier: nn.Module | None = getattr(network, "aux_classifier", None)
        self._levels = architecture.startswith("lraspp")

    def _forward(self, images: Tensor) -> Tensor | SegmentationOutput:
        features = self.backbone(images)
        logits: Tensor = self.classifier(features if self._levels else features["out"])
        if self.aux_classifier is None or not self.training:
            return logits
        return SegmentationOutput(logits, (self.aux_classifier(features["aux"]),))
