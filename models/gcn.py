"""GCN: Peng, Zhang, Yu, Luo, Sun, "Large Kernel Matters: Improve Semantic Segmentation by Global
Convolutional Network", 2017."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from base.base_model import BaseModel, SegmentationOutput
from models.auxiliary import auxiliary_head, with_auxiliary
from models.backbone import build_backbone, check_backbone
from models.blocks import init_weights, resize_like
from utils.config.annotations import Fraction, PositiveInt


class GCN(BaseModel):
    """Large separable kernels on every level of a backbone, and residual refinement of boundaries.

    On resnet50 with kernels of 11 for 21 classes it has 25,393,538 parameters. The template family's 25,394,294
    include two batch norms per refinement block (756) that neither its forward pass nor the paper uses.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        backbone: a ResNet, or ``timm/NAME`` with features of strides 4, 8, 16 and 32.
        pretrained: weights of the backbone: true for those of its library, false, a file or ``pip:PACKAGE``;
            ``None``: true for ResNets, false for timm.
        kernel_size: side of the large kernels, odd (the paper's best is 15).
        drop_path: stochastic depth: probability that training skips the last residual block of the backbone for
            an image; earlier ones have less in proportion.
        use_aux: train an auxiliary head on the backbone's features of stride 16 (``trainer.aux_weight``).

    Raises:
        ValueError: an even kernel, or a backbone without the strides.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        backbone: str = "resnet50",
        pretrained: bool | str | None = None,
        kernel_size: PositiveInt = 11,
        drop_path: Fraction = 0.0,
        use_aux: bool = False,
    ) -> None:
        super().__init__(num_classes, in_channels)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size: {kernel_size} is even; a kernel needs a middle")
        encoder = build_backbone(backbone, in_channels, pretrained, drop_path=drop_path)
        self.backbone, self.stride, self.num_layers = encoder, encoder.stride, encoder.num_layers
        self._indices = encoder.levels(4, 8, 16, 32)
        self.levels = nn.ModuleList(
            nn.Sequential(_LargeKernel(encoder.channels[i], num_classes, kernel_size), _Refine(num_classes))
            for i in self._indices
        )
        self.refine = nn.ModuleList(_Refine(num_classes) for _ in range(5))
        self.classifier = nn.Conv2d(num_classes, num_classes, 1)
        init_weights(self.refine, self.classifier)
        for block in self.modules():
            if isinstance(block, _LargeKernel):
                block.draw_weights()
            elif isinstance(block, _Refine):  # near identity, or nine in a row would multiply the scores
                nn.init.normal_(block.second.weight, std=0.01)
        middle = encoder.channels[self._indices[2]]
        self.aux = auxiliary_head(middle, num_classes) if use_aux else None

    @classmethod
    def check_arguments(cls, args: Mapping[str, Any], path: str) -> list[str]:
        """Return the mistakes that the types of the arguments do not show."""
        return check_backbone(args, path)

    def _forward(self, images: Tensor) -> Tensor | SegmentationOutput:
        features = self.backbone(images)
        scores = [level(features[i]) for level, i in zip(self.levels, self._indices, strict=True)]
        score = scores.pop()  # N, num_classes, H/32, W/32
        for refine in self.refine[:3]:
            score = refine(resize_like(score, scores[-1]) + scores.pop())
        score = self.refine[3](resize_like(score, images[..., ::2, ::2]))  # N, num_classes, H/2, W/2
        logits = self.classifier(self.refine[4](resize_like(score, images)))  # N, num_classes, H, W
        return with_auxiliary(self, logits, features[self._indices[2]])


class _LargeKernel(nn.Module):
    """Convolution with a k x k kernel of rank two: k x 1 then 1 x k, plus 1 x k then k x 1."""

    def __init__(self, in_channels: int, out_channels: int, size: int) -> None:
        super().__init__()
        tall, wide = ((size, 1), (size // 2, 0)), ((1, size), (0, size // 2))
        self.left, self.right = (
            nn.Sequential(
                nn.Conv2d(in_channels, out_channels, first[0], padding=first[1]),
                nn.Conv2d(out_channels, out_channels, second[0], padding=second[1]),
            )
            for first, second in ((tall, wide), (wide, tall))
        )

    def draw_weights(self) -> None:
        """Draw weights whose scores start near 0: nothing normalises the sum of four levels."""
        for branch in (self.left, self.right):
            for layer, std in zip(branch.children(), (None, 0.01), strict=True):
                assert isinstance(layer, nn.Conv2d) and layer.bias is not None
                nn.init.zeros_(layer.bias)
                if std is None:  # no activation and no norm follow
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
                else:
                    nn.init.normal_(layer.weight, std=std)

    def forward(self, features: Tensor) -> Tensor:
        summed: Tensor = self.left(features) + self.right(features)
        return summed


class _Refine(nn.Module):
    """Boundary refinement: a residual block of two convolutions on the scores."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, score: Tensor) -> Tensor:
        correction: Tensor = self.second(F.relu(self.first(score)))
        return score + correction
