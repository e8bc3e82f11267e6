"""ERFNet: Romera, Alvarez, Bergasa, Arroyo, "ERFNet: Efficient Residual Factorized ConvNet for Real-time
Semantic Segmentation", 2018."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from base.base_model import BaseModel, SegmentationOutput
from models.auxiliary import auxiliary_head, with_auxiliary
from models.blocks import init_weights

_EPS = 1e-3  # of the authors' batch norms
_RATES = (2, 4, 8, 16)


class ERFNet(BaseModel):
    """A network of 2.1 M parameters, for training from scratch: residual blocks of 3x1 and 1x3 convolutions.

    It has 2,064,191 parameters for 19 classes (published: 2.1 M) and 65 per class.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images, at most 15.
        dropout: share of the channels that training sets to 0 in the blocks at an eighth of the size; those at
            a quarter have a tenth of it.
        use_aux: train an auxiliary head on the encoder's features of stride 8 (``trainer.aux_weight``).

    Raises:
        ValueError: more than 15 image channels, for which the entrance has no room.
    """

    stride = 8

    def __init__(
        self, num_classes: int, in_channels: int = 3, dropout: float = 0.3, use_aux: bool = False
    ) -> None:
        super().__init__(num_classes, in_channels)
        if in_channels > 15:
            raise ValueError(
                f"in_channels: {in_channels}, but ERFNet's 16 entrance channels include the image's own"
            )
        self.encoder = nn.Sequential(
            _Down(in_channels, 16),
            _Down(16, 64),
            *(_Residual(64, dropout / 10) for _ in range(5)),
            _Down(64, 128),
            *(_Residual(128, dropout, rate) for rate in _RATES * 2),
        )
        self.decoder = nn.Sequential(
            *_double(128, 64), _Residual(64), _Residual(64),
            *_double(64, 16), _Residual(16), _Residual(16),
        )  # fmt: skip
        self.classifier = nn.ConvTranspose2d(16, num_classes, 2, 2)
        init_weights(self)
        self.aux = auxiliary_head(128, num_classes) if use_aux else None

    def _forward(self, images: Tensor) -> Tensor | SegmentationOutput:
        features = self.encoder(images)  # N, 128, H/8, W/8
        return with_auxiliary(self, self.classifier(self.decoder(features)), features)  # N, num_classes, H, W


class _Down(nn.Module):
    """Halves the size: a strided convolution beside max pooling, then norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels - in_channels, 3, 2, 1)
        self.norm = nn.BatchNorm2d(out_channels, eps=_EPS)

    def forward(self, features: Tensor) -> Tensor:
        joined = torch.cat([self.conv(features), F.max_pool2d(features, 2)], dim=1)
        return F.relu(self.norm(joined), inplace=True)


class _Residual(nn.Module):
    """The paper's non-bottleneck-1D block: two 3x3 convolutions, each as 3x1 and 1x3; the second is dilated."""

    def __init__(self, channels: int, dropout: float = 0.0, rate: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_factorised(channels), nn.BatchNorm2d(channels, eps=_EPS), nn.ReLU(inplace=True),
            *_factorised(channels, rate), nn.BatchNorm2d(channels, eps=_EPS), nn.Dropout2d(dropout),
        )  # fmt: skip

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(features + self.body(features))


def _factorised(channels: int, rate: int = 1) -> tuple[nn.Module, ...]:
    """3x1 convolution, ReLU and 1x3 convolution of one dilation."""
    return (
        nn.Conv2d(channels, channels, (3, 1), padding=(rate, 0), dilation=(rate, 1)),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, (1, 3), padding=(0, rate), dilation=(1, rate)),
    )


def _double(in_channels: int, out_channels: int) -> tuple[nn.Module, ...]:
    """Deconvolution that doubles the size, norm and ReLU."""
    return (
        nn.ConvTranspose2d(in_channels, out_channels, 3, 2, 1, output_padding=1),
        nn.BatchNorm2d(out_channels, eps=_EPS),
        nn.ReLU(inplace=True),
    )
