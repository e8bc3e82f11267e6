"""The contract of a backbone: features at several strides, and the normalisation of its weights."""

from __future__ import annotations

from torch import Tensor, nn

from utils.dataset_info import Normalisation


class Backbone(nn.Module):
    """Base of every encoder that a decoder is put on.

    Attributes:
        channels: channels of each feature, from the finest to the coarsest.
        reductions: stride of each feature: its sides are those of the image divided by it.
        stride: the sides of the images must be multiples of it.
        normalisation: what the loaded weights were trained with; ``None`` where none were loaded.
        usual: what published weights of the network are trained with.
    """

    channels: tuple[int, ...]
    reductions: tuple[int, ...]
    stride: int = 1
    normalisation: Normalisation | None = None
    usual: Normalisation = Normalisation()  # ImageNet's

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features (N, channels, H / reduction, W / reduction) of (N, C, H, W) images."""
        raise NotImplementedError

    def levels(self, *reductions: int) -> tuple[int, ...]:
        """Return the index of the last feature of each stride.

        Raises:
            ValueError: the backbone has none of a stride.
        """
        last = {reduction: index for index, reduction in enumerate(self.reductions)}
        missing = [str(reduction) for reduction in reductions if reduction not in last]
        if missing:
            raise ValueError(
                f"backbone: it has features of stride {', '.join(map(str, last))}, and none of stride "
                f"{', '.join(missing)}, which this model needs; a ResNet, timm/convnext_tiny and "
                "timm/tf_efficientnet_lite0 have them"
            )
        return tuple(last[reduction] for reduction in reductions)
