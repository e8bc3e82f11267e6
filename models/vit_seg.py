"""Segmentation with a plain ViT: a head on the tokens of DINOv2, DINOv3, MAE, SigLIP, EVA02 and others."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from base.base_model import BaseModel, SegmentationOutput
from models.auxiliary import auxiliary_head, with_auxiliary
from models.vit import ViT
from models.vit_pyramid import LEVELS, PyramidHead, TokenHead
from utils.config.annotations import Fraction, PositiveInt


class ViTSeg(BaseModel):
    """A head on the tokens of a plain ViT of timm (requirements/timm.txt).

    The linear head is the probe of Oquab et al., "DINOv2", 2024, less its batch norm; ``upernet`` is the head
    with which BEiT, MAE and EVA were fine-tuned. Images of every size: a position table is resampled, rotary
    positions are computed.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        backbone: timm's name of a plain ViT, with or without ``timm/``.
        pretrained: weights of the backbone: true for timm's, a file, or ``pip:PACKAGE``; false for none.
        head: a linear classifier of each token, a perceptron with one hidden layer, or UPerNet.
        layers: indices of the blocks, from 0, whose tokens the head gets. By default the last one, and for
            ``upernet`` four at equal distances; a single one is then used for every level.
        head_channels: channels of the hidden layer or of UPerNet's levels.
        drop_path: stochastic depth of the last block; earlier ones have less in proportion.
        options: further arguments of timm's network, such as ``depth`` or ``img_size``.
        use_aux: train an auxiliary head on the last but one of ``layers`` (``trainer.aux_weight``).

    Raises:
        ValueError: timm is missing, the network is no plain ViT, or it has no such layers.
        ConfigError: the weights cannot be loaded.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        backbone: str = "vit_small_patch14_reg4_dinov2",
        pretrained: bool | str = False,
        head: Literal["linear", "mlp", "upernet"] = "linear",
        layers: list[int] | None = None,
        head_channels: PositiveInt = 256,
        drop_path: Fraction = 0.0,
        options: dict[str, Any] | None = None,
        use_aux: bool = False,
    ) -> None:
        super().__init__(num_classes, in_channels)
        self.backbone: ViT = ViT(backbone, in_channels, pretrained, drop_path, options)
        self.stride = self.backbone.patch
        self.layers = _chosen(layers, self.backbone.depth, head)
        self.backbone.keep(self.layers[-1] + 1)
        self.num_layers = self.backbone.depth + 1
        dim = self.backbone.dim
        self.head: TokenHead | PyramidHead
        if head == "upernet":
            self.head = PyramidHead(dim, head_channels, num_classes)
        else:
            hidden = head_channels if head == "mlp" else 0
            self.head = TokenHead(dim * len(self.layers), num_classes, hidden)
        if use_aux and len(self.layers) < 2:
            raise ValueError("use_aux: its head is on the last but one of 'layers', and there is only one")
        self.aux = auxiliary_head(dim, num_classes) if use_aux else None

    def _forward(self, images: Tensor) -> Tensor | SegmentationOutput:
        maps = self.backbone(images, self.layers)
        if isinstance(self.head, PyramidHead) and len(maps) == 1:
            maps = maps * LEVELS
        logits = self.head(maps)  # N, num_classes, H / patch, W / patch; four times as many with UPerNet
        return with_auxiliary(self, logits, maps[-2] if self.aux is not None else maps[-1])


def _chosen(layers: list[int] | None, depth: int, head: str) -> list[int]:
    """Return the indices of the blocks that a head gets, checked.

    Raises:
        ValueError: they are not ascending indices of blocks, or of a number that UPerNet has no levels for.
    """
    if layers is None:
        if head != "upernet":
            return [depth - 1]
        if depth < LEVELS:
            return [depth - 1]
        return [depth * (level + 1) // LEVELS - 1 for level in range(LEVELS)]
    if not layers or layers != sorted(set(layers)) or layers[0] < 0 or layers[-1] >= depth:
        raise ValueError(
            f"layers: ascending indices of blocks from 0 to {depth - 1} are expected, got {layers}"
        )
    if head == "upernet" and len(layers) not in (1, LEVELS):
        raise ValueError(f"layers: upernet takes {LEVELS} of them, or one, got {len(layers)}")
    return layers
