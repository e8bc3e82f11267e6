"""The contract of a backbone: features at several strides, and the normalisation of its weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from utils.dataset_info import Normalisation


class Backbone(nn.Module, ABC):
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
    _stages: dict[str, int] | None = None

    @abstractmethod
    def forward(self, images: Tensor) -> list[Tensor]:
        """Features (N, channels, H / reduction, W / reduction) of (N, C, H, W) images."""

    @property
    def num_layers(self) -> int:
        """Number of stages, which are the layers of ``optimizer.layer_decay``."""
        return len(self.reductions)

    def layer_of(self, name: str) -> int:
        """Return the stage of a parameter of this module: the index of the first feature that depends on it.

        The learning rate falls from stage to stage, not from block to block: Liu, Mao, Wu, Feichtenhofer, Darrell,
        Xie, "A ConvNet for the 2020s", 2022, group the blocks of a pyramid too.
        """
        if self._stages is None:
            self._stages = self._find_stages()
        return self._stages.get(name, self.num_layers - 1)

    def _find_stages(self) -> dict[str, int]:
        """Follow the gradient of each feature of an empty image, in evaluation mode, to the parameters."""
        first = next(p for p in self.parameters() if p.ndim == 4)  # the convolution that sees the image
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        with torch.enable_grad():
            size = (2 * self.stride, 2 * self.stride)
            features = self(torch.zeros(1, first.shape[1], *size, device=first.device))
        for module, training in modes:
            module.training = training
        names = {id(parameter): name for name, parameter in self.named_parameters()}
        stages: dict[str, int] = {}
        seen: set[Any] = set()
        for stage, feature in enumerate(features):
            waiting = [feature.grad_fn]
            while waiting:
                node = waiting.pop()
                if node is None or node in seen:
                    continue
                seen.add(node)
                waiting += [before for before, _ in node.next_functions]
                if hasattr(node, "variable"):
                    stages[names[id(node.variable)]] = stage
        return stages

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
