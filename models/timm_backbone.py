"""Networks of timm (an optional package: requirements/timm.txt) as backbones."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import Tensor, nn

from models.features import Backbone
from models.same_padding import fix_same_padding
from models.weights.for_timm import load_timm, usual_normalisation
from utils.config.factory import did_you_mean
from utils.errors import first_line

PREFIX = "timm/"
_OLDEST = (1, 0, 20)


class TimmBackbone(Backbone):
    """The features of a network of timm.

    Args:
        name: timm's name of the network, such as ``convnext_tiny`` or ``tf_efficientnet_lite0.in1k``.
        in_channels: channels of the images.
        pretrained: true for timm's weights, a file, or ``pip:PACKAGE``.
        output_stride: 8, 16 or 32; below 32 the network must be able to dilate its last stages.
        drop_path: stochastic depth of the last residual block; earlier ones have less, as timm has it.

    Raises:
        ValueError: timm is missing, or has no such network, or one that gives no features of images of every
            size, or no stochastic depth.
        ConfigError: the weights cannot be loaded.
    """

    def __init__(
        self,
        name: str,
        in_channels: int = 3,
        pretrained: bool | str = False,
        output_stride: int = 32,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.net = create(name, in_channels, output_stride, drop_path)
        fix_same_padding(self.net)
        self._channels_last = str(getattr(self.net, "output_fmt", "")).endswith("NHWC")
        self.channels = tuple(self.net.feature_info.channels())
        self.stride = max(self.net.feature_info.reduction()) * _partition(self.net)
        self.reductions = self._measured_reductions(name, in_channels)
        self.usual = usual_normalisation(name)
        if pretrained:
            self.normalisation = load_timm(self.net, name, pretrained, in_channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features (N, channels, H / reduction, W / reduction)."""
        features: list[Tensor] = self.net(images)
        return [f.permute(0, 3, 1, 2) for f in features] if self._channels_last else list(features)

    def _measured_reductions(self, name: str, in_channels: int) -> tuple[int, ...]:
        """Return the stride of each feature from passes over images of two shapes.

        They compute no values, unless the network holds tensors that are neither parameters nor buffers.
        """
        own = next(self.parameters()).device
        error: Exception | None = None
        for device in dict.fromkeys((torch.device("meta"), own)):
            try:
                found = self._strides(in_channels, device)
            except (AssertionError, RuntimeError, ValueError) as caught:
                error = caught
                continue
            if len(found) != 1:
                self.stride *= 2  # MobileViT v2 resizes its coarsest features to patches of 2x2
                found = self._strides(in_channels, device)
            if len(found) != 1:
                raise ValueError(f"backbone: {PREFIX}{name} has features whose strides depend on the image")
            return found.pop()
        assert error is not None
        plain = "; a plain ViT goes into ViTSeg or EoMT" if is_plain_vit(name) else ""
        raise ValueError(
            f"backbone: {PREFIX}{name} does not take images of every size ({first_line(error)}){plain}"
        ) from error

    def _strides(self, in_channels: int, device: torch.device) -> set[tuple[int, ...]]:
        """Return the strides of all features along each side of two images."""
        state = {key: tensor.to(device) for key, tensor in self.state_dict().items()}
        training, found = self.training, set()
        self.eval()
        with torch.inference_mode():
            for height, width in ((self.stride, 2 * self.stride), (3 * self.stride, self.stride)):
                images = torch.zeros(1, in_channels, height, width, device=device)
                features = torch.func.functional_call(self, state, images, tie_weights=False)
                found.add(tuple(height // f.shape[-2] for f in features))
                found.add(tuple(width // f.shape[-1] for f in features))
        self.train(training)
        return found


def create(name: str, in_channels: int, output_stride: int = 32, drop_path: float = 0.0) -> Any:
    """Build the feature network ``name`` of timm with random weights.

    Raises:
        ValueError: as :class:`TimmBackbone`.
    """
    timm = import_timm()
    if not timm.is_model(name):
        hint = did_you_mean(name, timm.list_models()) or "; see timm.list_models()"
        raise ValueError(f"backbone: timm {timm.__version__} has no network '{name}'{hint}")
    dilated = {} if output_stride == 32 else {"output_stride": output_stride}
    skipped = {"drop_path_rate": drop_path} if drop_path else {}
    # Swin then makes the masks of its windows for the size at hand; other networks do not know the option
    for options in ({"strict_img_size": False, **dilated}, dilated):
        try:
            net = timm.create_model(name, features_only=True, in_chans=in_channels, **options, **skipped)
        except (TypeError, AssertionError, NotImplementedError, RuntimeError) as error:
            if "strict_img_size" in str(error):
                continue
            raise ValueError(_refusal(name, output_stride, error)) from error
        if skipped and not any(getattr(module, "drop_prob", 0) for module in net.modules()):
            raise ValueError(_refusal(name, output_stride, None))
        return net
    raise AssertionError("timm refused an option that it was not given")


def _refusal(name: str, output_stride: int, error: Exception | None) -> str:
    """Return which option a network of timm does not take, by timm's error; none: it ignored stochastic depth."""
    if error is None or "drop_path_rate" in str(error):
        return (
            f"drop_path: timm has no stochastic depth for {name}; leave it out, or take a ConvNeXt, "
            "EfficientNet, Swin or ResNet of timm"
        )
    if output_stride != 32:
        return (
            f"output_stride: {PREFIX}{name} cannot be dilated to {output_stride}; a ResNet, ResNeXt, "
            "RegNet, ConvNeXt or EfficientNet of timm can"
        )
    return f"backbone: {PREFIX}{name} gives no features ({first_line(error)})"


def import_timm() -> Any:
    """Import timm.

    Raises:
        ValueError: it is not installed, or too old.
    """
    remedy = "pip install -r requirements/timm.txt"
    try:
        import timm
    except ImportError as error:
        raise ValueError(f"needs timm: {remedy} ({error})") from error
    found = tuple(int(part) for part in re.findall(r"\d+", timm.__version__)[:3])
    if found < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise ValueError(f"needs timm {oldest} or later, found {timm.__version__}: {remedy}")
    return timm


def is_plain_vit(name: str) -> bool:
    """Return whether a network of timm has one grid of patches, and class and register tokens beside it."""
    import timm

    entry: Any = timm.model_entrypoint(name.partition(".")[0])
    return entry.__module__.rpartition(".")[2] in ("vision_transformer", "eva", "deit")


def _partition(net: nn.Module) -> int:
    """Return the least common multiple of the window sizes into which attention divides the features."""
    sizes = [getattr(module, "partition_size", None) for module in net.modules()]
    return math.lcm(*(side for size in sizes if size is not None for side in size))
