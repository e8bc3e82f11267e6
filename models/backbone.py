"""Backbones by name: torchvision's ResNets and DenseNets, and every network of timm that gives features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from models.densenet import DenseNetEncoder, DenseNetName
from models.features import Backbone
from models.resnet import ResNetEncoder, ResNetName
from models.timm_backbone import PREFIX, TimmBackbone
from utils.config.factory import Problem, did_you_mean, join

__all__ = ["Backbone", "build_backbone"]

Builder = Callable[[str, int, "bool | str", int, bool, float], Backbone]


def build_backbone(
    name: str,
    in_channels: int,
    pretrained: bool | str | None,
    output_stride: int = 32,
    deep_stem: bool = False,
    drop_path: float = 0.0,
) -> Backbone:
    """Build a backbone.

    Args:
        name: a ResNet or DenseNet of torchvision, or ``timm/NAME`` for a network of timm.
        in_channels: channels of the images.
        pretrained: true, false, a file, or ``pip:PACKAGE``; ``None`` is true for torchvision's networks and
            false for those of timm.
        output_stride: 8, 16 or 32: no feature has a larger stride. DenseNets have 8 only.
        deep_stem: the stem of PSPNet's authors, for ResNets.
        drop_path: stochastic depth of the last residual block, 0..1; earlier ones have less in proportion.

    Raises:
        ValueError: an unknown name, or an option that the network does not have.
        ConfigError: the weights cannot be loaded.
    """
    if pretrained is None:
        pretrained = not name.startswith(PREFIX)
    if deep_stem and name not in get_args(ResNetName):
        raise ValueError(f"deep_stem: is a stem of ResNets; {name} has its own")
    if name.startswith(PREFIX):
        return TimmBackbone(name.removeprefix(PREFIX), in_channels, pretrained, output_stride, drop_path)
    problem = unknown_name(name)
    if problem:
        raise ValueError(f"backbone: {problem}")
    return _BUILDERS[name](name, in_channels, pretrained, output_stride, deep_stem, drop_path)


def unknown_name(name: str, others: Sequence[str] = ()) -> str:
    """Return why there is no backbone of a name; empty if there is, and for networks of timm, which only it knows.

    Args:
        name: as in a config.
        others: further backbones that a model offers.
    """
    known = [*others, *_BUILDERS]
    if name in known or name.startswith(PREFIX):
        return ""
    hint = did_you_mean(name, known) or "."
    return f"'{name}' is not offered{hint} Choose from: {', '.join(known)}, or {PREFIX}NAME for a network of timm"


def check_backbone(args: Mapping[str, Any], path: str, others: Sequence[str] = ()) -> list[str]:
    """Return the mistake of a config's ``backbone``, as a line with its JSON path.

    Args:
        args: arguments of a model.
        path: their JSON path.
        others: further backbones that the model offers.
    """
    reason = unknown_name(args["backbone"], others) if "backbone" in args else ""
    return [Problem(join(path, "backbone"), reason)] if reason else []


def _resnet(
    name: str, in_channels: int, pretrained: bool | str, output_stride: int, deep_stem: bool, drop_path: float
) -> Backbone:
    return ResNetEncoder(name, in_channels, pretrained, output_stride, deep_stem, drop_path)  # type: ignore[arg-type]


def _densenet(
    name: str, in_channels: int, pretrained: bool | str, output_stride: int, _: bool, drop_path: float
) -> Backbone:
    if drop_path:
        raise ValueError(f"drop_path: {name} has no residual blocks that could be skipped; leave it out")
    if output_stride != 8:
        raise ValueError(f"backbone: {name} has features of stride 8 only; {output_stride} is asked for")
    return DenseNetEncoder(name, in_channels, pretrained)  # type: ignore[arg-type]


_BUILDERS: dict[str, Builder] = {
    **dict.fromkeys(get_args(ResNetName), _resnet),
    **dict.fromkeys(get_args(DenseNetName), _densenet),
}
