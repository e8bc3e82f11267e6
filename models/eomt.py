"""EoMT: Kerssies et al., "Your ViT is Secretly an Image Segmentation Model", 2025."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from base.base_model import ALIGN_CORNERS, BaseModel, SegmentationOutput
from models.vit import Tokens, ViT
from utils.config.annotations import Fraction, NonNegativeFloat, NonNegativeInt, PositiveInt
from utils.errors import ConfigError
from utils.losses.base import BaseLoss
from utils.losses.mask_classification import MaskClassificationLoss, MaskWeights
from utils.losses.training import TrainingLoss

_TINY_SCORE = 1e-6
_ANNEALING_POWER = 0.9


class EoMT(BaseModel):
    """Queries among the tokens of the last blocks of a plain ViT; each predicts a class and a mask.

    The score of a class at a pixel is the sum over the queries of the probability that the query has the class
    times that of its mask there; ``logits`` are the logarithms of these scores, so their softmax are the scores
    normalised. It is trained by matching queries with the classes of the image, a loss that it brings
    (:class:`utils.losses.mask_classification.MaskClassificationLoss`).

    In training, a query attends in each of the last blocks to the patches of its mask so far only. The share of
    queries so restricted falls from 1 to 0, block after block (the paper's mask annealing): with L blocks, that of
    block i (from 0) between the shares (i + 1) / (L + 2) and (i + 2) / (L + 2) of the run. Nothing is restricted
    in validation and prediction, so figures before the end of the annealing are pessimistic.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        backbone: timm's name of a plain ViT, with or without ``timm/``.
        pretrained: weights of the backbone: true for timm's, a file, or ``pip:PACKAGE``; false for none.
        queries: number of queries.
        query_blocks: last blocks of the ViT, in which the queries are.
        masked_attention: restrict the attention of queries in training.
        class_weight: weight of the cross-entropy of classes.
        mask_weight: weight of the binary cross-entropy of masks.
        dice_weight: weight of the Dice loss of masks.
        no_object_weight: weight of the class for no object.
        points: pixels of each image at which training compares masks; 0 takes all.
        drop_path: stochastic depth of the last block; earlier ones have less in proportion.
        options: further arguments of timm's network, such as ``depth`` or ``img_size``.

    Raises:
        ValueError: timm is missing, the network is no plain ViT, or it has too few blocks.
        ConfigError: the weights cannot be loaded.
    """

    brings_loss = True

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        backbone: str = "vit_small_patch14_reg4_dinov2",
        pretrained: bool | str = False,
        queries: PositiveInt = 100,
        query_blocks: PositiveInt = 4,
        masked_attention: bool = True,
        class_weight: NonNegativeFloat = 2.0,
        mask_weight: NonNegativeFloat = 5.0,
        dice_weight: NonNegativeFloat = 5.0,
        no_object_weight: NonNegativeFloat = 0.1,
        points: NonNegativeInt = 12544,
        drop_path: Fraction = 0.0,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(num_classes, in_channels)
        self.backbone: ViT = ViT(backbone, in_channels, pretrained, drop_path, options)
        depth, dim, self.stride = self.backbone.depth, self.backbone.dim, self.backbone.patch
        if query_blocks > depth:
            raise ValueError(f"query_blocks: {query_blocks}, and {backbone} has {depth} blocks")
        self.num_layers, self.first, self.last = depth + 1, depth - query_blocks, query_blocks
        self.count = queries
        self.masked_attention, self.points = masked_attention, points
        self.weights = MaskWeights(class_weight, mask_weight, dice_weight, no_object_weight)
        self.backbone.admit(queries, self.first)
        self.queries = nn.Parameter(torch.randn(queries, dim))
        self.class_head = nn.Linear(dim, num_classes + 1)
        self.mask_head = nn.Sequential(
            nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim)
        )
        doublings = max(1, int(math.log2(self.stride)) - 2)
        self.upscale = nn.Sequential(*(_Upscale(dim) for _ in range(doublings)))
        self.register_buffer("restricted", torch.ones(query_blocks), persistent=False)

    restricted: Tensor  # share of the queries whose attention is restricted, per block

    def build_criterion(self, pixel: BaseLoss, aux_weight: float) -> TrainingLoss:
        """Return the loss of classes and masks; those of the config are for validation.

        Raises:
            ConfigError: two classes by one logit are asked for.
        """
        if self.one_logit:
            raise ConfigError("arch.args.num_classes: EoMT has no single logit for two classes; leave it out")
        return MaskClassificationLoss(
            self.num_classes, self.count, self.stride, self.weights, self.points, pixel.ignore_index
        )

    def set_progress(self, share: float) -> None:
        """Anneal the masks of attention."""
        number = torch.arange(1, self.last + 1, device=self.restricted.device)
        self.restricted.copy_((1 - (share * (self.last + 2) - number).clamp(0, 1)) ** _ANNEALING_POWER)

    def scores(self, labels: Tensor, masks: Tensor) -> Tensor:
        """Logarithms of class scores (N, num_classes, h, w) of (N, Q, num_classes + 1) and (N, Q, h, w) logits."""
        shares = labels.float().softmax(dim=-1)[..., :-1]
        scores = torch.einsum("nqc,nqhw->nchw", shares, masks.float().sigmoid())
        return scores.float().clamp_min(_TINY_SCORE).log()

    def _forward(self, images: Tensor) -> SegmentationOutput:
        tokens = self.backbone.embed(images)
        for index in range(self.first):
            tokens = self.backbone.block(index, tokens)
        queries = self.queries.expand(tokens.values.shape[0], -1, -1).to(tokens.values.dtype)
        tokens = tokens._replace(values=torch.cat([queries, tokens.values], dim=1))
        extra: tuple[Tensor, ...] = ()
        for number in range(self.last):
            mask = None
            if self.training:
                labels, masks = self._predict(tokens)
                extra += (labels, masks)
                mask = self._attention(masks, tokens, number) if self.masked_attention else None
            tokens = self.backbone.block(self.first + number, tokens, mask)
        labels, masks = self._predict(tokens)
        return SegmentationOutput(self.scores(labels, masks), extra=(*extra, labels, masks))

    def _predict(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Logits of the classes (N, Q, num_classes + 1) and of the masks (N, Q, h, w) of the queries."""
        values = self.backbone.normalise(tokens.values)
        queries = values[:, : self.count]
        features = self.upscale(self.backbone.to_map(values, tokens.grid))
        masks = torch.einsum("nqc,nchw->nqhw", self.mask_head(queries), features)
        return self.class_head(queries), masks

    def _attention(self, masks: Tensor, tokens: Tokens, number: int) -> Tensor:
        """Return which tokens attend to which (N, 1, T, T): restricted queries to patches in their masks."""
        grid = tokens.grid
        inside = F.interpolate(masks, size=grid, mode="bilinear", align_corners=ALIGN_CORNERS) > 0
        free = torch.rand(masks.shape[:2], device=masks.device) >= self.restricted[number]
        total = tokens.values.shape[1]
        allowed = torch.ones(masks.shape[0], total, total, dtype=torch.bool, device=masks.device)
        allowed[:, : self.count, total - grid[0] * grid[1] :] = inside.flatten(2) | free[..., None]
        return allowed[:, None]


class _Upscale(nn.Module):
    """Twice the height and width: transposed convolution, GELU, depthwise convolution, norm over channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(dim, dim, 2, stride=2)
        self.mix = nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False)
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, features: Tensor) -> Tensor:
        mixed = self.mix(F.gelu(self.up(features)))
        normed: Tensor = self.norm(mixed.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return normed
