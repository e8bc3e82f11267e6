"""TensorFlow's SAME convolutions with fixed padding, for networks whose input is padded to their stride."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class FixedSameConv2d(nn.Conv2d):
    """A convolution that pads as TensorFlow's SAME does where its stride divides the sides of its input.

    TensorFlow's padding depends on the size of the input: at stride s, kernel k and dilation d it adds
    ``max((ceil(n / s) - 1) * s + (k - 1) * d + 1 - n, 0)``, the larger half at the right and at the bottom. For
    multiples of s this is ``max((k - 1) * d + 1 - s, 0)``, which an exported program of any size can hold.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Convolve (N, in, H, W) to (N, out, H / stride, W / stride)."""
        vertical, horizontal = (
            max((kernel - 1) * dilation + 1 - stride, 0)
            for kernel, dilation, stride in zip(self.kernel_size, self.dilation, self.stride, strict=True)
        )
        left, top = horizontal // 2, vertical // 2
        padded = F.pad(images, (left, horizontal - left, top, vertical - top))
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def fix_same_padding(network: nn.Module) -> None:
    """Replace timm's SAME convolutions in a network, in place; names and parameters stay.

    Args:
        network: gets images whose sides are multiples of its stride.
    """
    for parent in list(network.modules()):
        for name, layer in parent.named_children():
            if type(layer).__name__ == "Conv2dSame" and isinstance(layer, nn.Conv2d):
                setattr(parent, name, _fixed(layer))


def _fixed(layer: nn.Conv2d) -> FixedSameConv2d:
    fixed = FixedSameConv2d.__new__(FixedSameConv2d)
    fixed.__dict__.update(layer.__dict__)
    return fixed
