"""FCN: Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", 2015."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from base.base_model import BaseModel, SegmentationOutput
from models.auxiliary import auxiliary_head, with_auxiliary
from models.blocks import resize_like
from models.vgg import FullyConvolutionalVGG, VGGName


class _FCN(BaseModel):
    """VGG with convolutional fc6 and fc7, score layers, and bilinear up-sampling.

    The authors up-sample by deconvolutions with fixed weights, which see zeros outside the image: equal scores
    fall to 0.32 at the borders and to 0.10 in the corners. Here the outermost scores are continued, which is the
    same inside. Learnt deconvolutions get a border of repeated scores.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        backbone: which VGG.
        pretrained: ImageNet weights, fc6 and fc7 included: true for torchvision's, or the path of such a file.
        learn_upsampling: deconvolutions that start as bilinear and are trained; the authors found no gain.
        border: what up-sampling sees outside the image: the outermost scores, or zeros as in the authors'
            network and in version 1.
        use_aux: train an auxiliary head on pool4 (``trainer.aux_weight``).
    """

    architecture_version = 2  # 2: up-sampling that continues the scores at the borders
    stride = 32
    skips: int  # number of fused stages: 1 is pool4, 2 is pool4 and pool3

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        backbone: VGGName = "vgg16",
        pretrained: bool | str = True,
        learn_upsampling: bool = False,
        border: Literal["edge", "zero"] = "edge",
        use_aux: bool = False,
    ) -> None:
        super().__init__(num_classes, in_channels)
        self.backbone = FullyConvolutionalVGG(backbone, in_channels, pretrained)
        pool3, pool4, fc7 = self.backbone.channels
        self.score_fr = _score(fc7, num_classes)
        if self.skips >= 1:
            self.score_pool4 = _score(pool4, num_classes)
            self.upscore2 = self._upsampling(2, learn_upsampling, border)
        if self.skips == 2:
            self.score_pool3 = _score(pool3, num_classes)
            self.upscore_pool4 = self._upsampling(2, learn_upsampling, border)
        self.upscore = self._upsampling(32 >> self.skips, learn_upsampling, border)
        self.aux = auxiliary_head(pool4, num_classes) if use_aux else None

    @classmethod
    def arguments_of_version(cls, version: int, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of today for version 1, whose deconvolutions saw zeros outside."""
        return {**arguments, "border": "zero"}

    def _upsampling(self, factor: int, trained: bool, border: str) -> nn.Module:
        """Deconvolution, or nothing where a resize does the same."""
        if border == "edge" and not trained:
            return nn.Identity()
        return _Bilinear(self.num_classes, factor, edge=border == "edge").requires_grad_(trained)

    def _forward(self, images: Tensor) -> Tensor | SegmentationOutput:
        pool3, pool4, fc7 = self.backbone(images)
        score: Tensor = self.score_fr(fc7)  # N, C, H/32, W/32
        if self.skips >= 1:
            finer = self.score_pool4(pool4)  # N, C, H/16, W/16
            score = resize_like(self.upscore2(score), finer) + finer
        if self.skips == 2:
            finer = self.score_pool3(pool3)  # N, C, H/8, W/8
            score = resize_like(self.upscore_pool4(score), finer) + finer
        # at the size of the score, or N, C, H, W
        return with_auxiliary(self, self.upscore(score), pool4)


class FCN32s(_FCN):
    """FCN without skips: 134,346,581 parameters on vgg16 for 21 classes."""

    skips = 0


class FCN16s(_FCN):
    """FCN that fuses pool4: 134,357,354 parameters on vgg16 for 21 classes."""

    skips = 1


class FCN8s(_FCN):
    """FCN that fuses pool4 and pool3: 134,362,751 parameters on vgg16 for 21 classes."""

    skips = 2


def _score(channels: int, num_classes: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, num_classes, 1)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)  # as in the authors' code
    return layer


class _Bilinear(nn.ConvTranspose2d):
    """Deconvolution that starts as bilinear interpolation of each class's score, by ``factor``.

    With ``edge``, it repeats the outermost scores outside the image; otherwise it sees zeros there.
    """

    def __init__(self, num_classes: int, factor: int, edge: bool) -> None:
        cut = factor // 2 + (factor if edge else 0)
        super().__init__(num_classes, num_classes, 2 * factor, factor, padding=cut, bias=False)
        self.edge = edge
        ramp = 1 - (torch.arange(2 * factor) + 0.5 - factor).abs() / factor
        with torch.no_grad():
            self.weight.zero_()
            self.weight[range(num_classes), range(num_classes)] = torch.outer(ramp, ramp)

    def forward(self, score: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Up-sample (N, C, h, w) to (N, C, factor * h, factor * w)."""
        if (
            self.edge
        ):  # joined, because the gradient of replicating padding has no deterministic form on a GPU
            score = torch.cat([score[..., :1], score, score[..., -1:]], dim=3)
            score = torch.cat([score[..., :1, :], score, score[..., -1:, :]], dim=2)
        return super().forward(score, output_size)
