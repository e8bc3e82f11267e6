"""A convolution with more weights than pixels, as fc6 and fc7 of VGG are in FCN."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from base.base_model import is_exporting

_PIXELS = 1024  # of a batch, up to which the product was faster


class WideConv2d(nn.Conv2d):
    """A dense convolution of stride 1 that keeps the size, as one matrix product where that is faster.

    That is on CPUs in reduced precision, for few pixels: oneDNN rearranges the weights of a convolution at every
    pass, but multiplies by them as they lie. Results differ by rounding only; parameters are those of ``Conv2d``.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd side of the kernel.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, images: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        if not self._multiplies(images):
            return super().forward(images)
        side, reach = self.kernel_size[0], self.kernel_size[0] // 2
        pixels = F.pad(images.permute(0, 2, 3, 1), (0, 0, reach, reach, reach, reach))
        around = pixels.unfold(1, side, 1).unfold(2, side, 1)  # N, H, W, C, side, side
        rows = around.permute(0, 1, 2, 4, 5, 3).flatten(3)
        return F.linear(rows, self.weight.permute(0, 2, 3, 1).flatten(1), self.bias).permute(0, 3, 1, 2)

    def _multiplies(self, images: Tensor) -> bool:
        return (
            not is_exporting()
            and images.device.type == "cpu"
            and torch.is_autocast_enabled("cpu")
            and images.shape[0] * images.shape[2] * images.shape[3] <= _PIXELS
            and self.weight.is_contiguous(memory_format=torch.channels_last)
        )
