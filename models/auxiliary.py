"""Auxiliary heads: a second loss on inner features in training (deep supervision).

Lee, Xie, Gallagher, Zhang, Tu, "Deeply-Supervised Nets", 2015; the head is that of Zhao, Shi, Qi, Wang, Jia,
"Pyramid Scene Parsing Network", 2017.
"""

from __future__ import annotations

from torch import Tensor, nn

from base.base_model import SegmentationOutput
from models.blocks import conv_bn_relu, init_weights


def auxiliary_head(channels: int, num_classes: int) -> nn.Sequential:
    """Make a head on features: a 3x3 convolution to a quarter of the channels, dropout, one logit per class.

    Args:
        channels: channels of the features.
        num_classes: channels of the logits.
    """
    middle = max(channels // 4, 1)
    head = nn.Sequential(conv_bn_relu(channels, middle), nn.Dropout2d(0.1), nn.Conv2d(middle, num_classes, 1))
    init_weights(head)
    return head


def with_auxiliary(model: nn.Module, logits: Tensor, features: Tensor) -> Tensor | SegmentationOutput:
    """Return logits, in training with those of the model's ``aux``, a head on ``features`` or ``None``."""
    if model.aux is None or not model.training:
        return logits
    assert isinstance(model.aux, nn.Module)
    return SegmentationOutput(logits, (model.aux(features),))
