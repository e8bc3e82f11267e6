"""SegFormer: Xie, Wang, Yu, Anandkumar, Alvarez, Luo, "SegFormer: Simple and Efficient Design for Semantic
Segmentation with Transformers", 2021."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from base.base_model import BaseModel, SegmentationOutput
from models.auxiliary import auxiliary_head, with_auxiliary
from models.blocks import resize_like
from models.mit import MiTName, MixTransformer
from models.pretrained import adapt_first
from models.segformer_weights import load_segformer
from utils.config.annotations import Fraction
from utils.dataset_info import Normalisation


class SegFormer(BaseModel):
    """Mix Transformer with a head of linear layers.

    Parameters for 150 classes (ADE20K), published in parentheses: mit_b0 3,752,694 (3.8 M), mit_b1 13,715,798
    (13.7 M), mit_b2 27,461,974 (27.5 M), mit_b3 47,337,814 (47.3 M), mit_b4 64,108,374 (64.1 M), mit_b5
    84,708,694 (84.7 M). A class has 257 (b0, b1) or 769 of them.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        backbone: which encoder.
        pretrained: a file of weights (or ``pip:PACKAGE``) named as the authors or transformers name them
            (``.pth``, ``.bin``, ``.safetensors``), of the encoder alone or of a SegFormer; its head is loaded as
            far as it fits.
        drop_path: probability that the last block is skipped for an image in training (rising from 0).
        use_aux: train an auxiliary head on the backbone's features of stride 16 (``trainer.aux_weight``).

    Raises:
        ValueError: ``pretrained`` is true: there is nothing to download.
        ConfigError: the file cannot be read or is not of this encoder.
    """

    stride = 32

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        backbone: MiTName = "mit_b0",
        pretrained: bool | str = False,
        drop_path: Fraction = 0.1,
        use_aux: bool = False,
    ) -> None:
        super().__init__(num_classes, in_channels)
        if pretrained is True:
            raise ValueError(f"pretrained: {backbone} is not downloaded; give the path of a file, or false")
        self.backbone = MixTransformer(backbone, 3 if pretrained else in_channels, drop_path)
        self.num_layers = self.backbone.num_layers
        width = 256 if backbone in ("mit_b0", "mit_b1") else 768
        self.head = _AllMLP(self.backbone.channels, width, num_classes)
        if pretrained:
            load_segformer(self.backbone, self.head, str(pretrained), backbone)
            adapt_first(self.backbone, in_channels, True)
            self.backbone.normalisation = Normalisation().for_channels(in_channels)
        self.aux = auxiliary_head(self.backbone.channels[2], num_classes) if use_aux else None

    def _forward(self, images: Tensor) -> Tensor | SegmentationOutput:
        features = self.backbone(images)
        return with_auxiliary(self, self.head(features), features[2])  # N, num_classes, H/4, W/4


class _AllMLP(nn.Module):
    """Head of linear layers: every level to ``width`` channels, all of them fused at the finest level.

    The 1x1 convolution that fuses the levels is applied to each before it is resized, not after: both are linear
    and the weights of a resize sum to 1, so the result is the same at a quarter of the cost.
    """

    def __init__(self, channels: tuple[int, ...], width: int, num_classes: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.fuse = nn.Conv2d(len(channels) * width, width, 1, bias=False)  # the coarsest level first
        self.norm = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout2d(0.1)
        self.classify = nn.Conv2d(width, num_classes, 1)
        nn.init.kaiming_normal_(self.fuse.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.classify.weight, std=0.01)

    def forward(self, features: list[Tensor]) -> Tensor:
        weights = self.fuse.weight.chunk(len(features), dim=1)[::-1]
        fused = [
            F.conv2d(project(level), weight)
            for project, level, weight in zip(self.project, features, weights, strict=True)
        ]
        finest = fused[0]
        for level in fused[1:]:
            finest = finest + resize_like(level, finest)
        logits: Tensor = self.classify(self.dropout(F.relu(self.norm(finest))))
        return logits
