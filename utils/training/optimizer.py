"""Builds the optimizer of a config, with the parameter groups that it asks for."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim import Optimizer

from utils.config.factory import Catalogue, build, find
from utils.config.sections import OptimizerSection
from utils.errors import ConfigError

logger = logging.getLogger(__name__)

OPTIMIZERS = Catalogue(torch.optim, Optimizer, "optimizer", frozenset({"params"}))


class ParameterGroups(Protocol):
    """A model whose backbone and decoder parameters partition the trainable ones.

    ``num_layers`` and ``layer_of`` are those of :class:`base.base_model.BaseModel`.
    """

    @property
    def num_layers(self) -> int: ...
    def layer_of(self, name: str) -> int: ...
    def get_backbone_params(self) -> list[nn.Parameter]: ...
    def get_decoder_params(self) -> list[nn.Parameter]: ...
    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...


def build_optimizer(section: OptimizerSection, model: ParameterGroups) -> Optimizer:
    """Build any optimizer of ``torch.optim`` over the trainable parameters of a model.

    Args:
        section: the config's ``optimizer``.
        model: the model to train.

    Raises:
        ConfigError: unknown optimizer or argument, or nothing to train.
    """
    groups = parameter_groups(section, model)
    if not any(group["params"] for group in groups):
        raise ConfigError("arch.args: every parameter is frozen; there is nothing to train")
    fused = _fused(section, groups[0]["params"][0])
    return build(OPTIMIZERS, replace(section, args={**fused, **section.args}), "optimizer", params=groups)


def parameter_groups(section: OptimizerSection, model: ParameterGroups) -> list[dict[str, Any]]:
    """Split the trainable parameters by learning rate and weight decay; no group is empty.

    With ``layer_decay``, a parameter of layer i learns at ``lr * layer_decay ** (num_layers - i)``, the rule of
    Bao, Dong, Piao, Wei, "BEiT", 2022; the groups are in the order of the layers, the last layer first.

    Raises:
        ConfigError: learning rates that differ need one to start from, or the model has no layers in order.
    """
    parts = _by_part(section, model)
    if section.layer_decay is not None:
        parts = _split_layers(parts, section.layer_decay, model)
    groups: list[tuple[list[nn.Parameter], dict[str, Any]]]
    groups = [(params, {} if factor == 1 else {"lr": _base_lr(section) * factor}) for params, factor in parts]
    if section.no_decay_norm_bias:
        groups = [half for params, options in groups for half in _split_decay(params, options)]
    return [{"params": params, **options} for params, options in groups if params]


def _by_part(section: OptimizerSection, model: ParameterGroups) -> list[tuple[list[nn.Parameter], float]]:
    """Split parameters into decoder and backbone, each with its factor of the learning rate, if they differ."""
    backbone, decoder = model.get_backbone_params(), model.get_decoder_params()
    if section.differential_lr and backbone:
        return [(decoder, 1.0), (backbone, section.backbone_lr_factor)]
    if section.differential_lr:
        logger.warning(
            "optimizer.differential_lr: %s has no trainable backbone; one learning rate for all",
            type(model).__name__,
        )
    return [(backbone + decoder, 1.0)]


def _split_layers(
    parts: list[tuple[list[nn.Parameter], float]], decay: float, model: ParameterGroups
) -> list[tuple[list[nn.Parameter], float]]:
    """Split parameters with their factors of the learning rate by the depth of their layers."""
    last = model.num_layers
    if last < 1:
        raise ConfigError(
            f"optimizer.layer_decay: {type(model).__name__} has no layers in order of depth; leave "
            "it out (differential_lr slows a backbone down)"
        )
    layers = {id(parameter): model.layer_of(name) for name, parameter in model.named_parameters()}
    return [
        ([p for p in params if layers[id(p)] == layer], factor * decay ** (last - layer))
        for layer in range(last, -1, -1)
        for params, factor in parts
    ]


def _fused(section: OptimizerSection, parameter: nn.Parameter) -> dict[str, bool]:
    """Choose the fused form on a GPU, where the optimizer has one and the config does not choose another.

    On a CPU the fused form copies every weight that is channels_last.
    """
    cls = find(OPTIMIZERS, section.type, "optimizer.type")
    has_kernel = "fused" in inspect.signature(cls).parameters
    chosen = section.args.keys() & {"fused", "foreach", "differentiable", "capturable"}
    return {"fused": True} if parameter.is_cuda and has_kernel and not chosen else {}


def _split_decay(
    params: list[nn.Parameter], options: dict[str, Any]
) -> list[tuple[list[nn.Parameter], dict[str, Any]]]:
    """Vectors are biases and norm parameters; everything else has two dimensions or more."""
    matrices = [p for p in params if p.ndim > 1]
    vectors = [p for p in params if p.ndim <= 1]
    return [(matrices, options), (vectors, {**options, "weight_decay": 0.0})]


def _base_lr(section: OptimizerSection) -> float:
    lr = section.args.get("lr")
    if isinstance(lr, bool) or not isinstance(lr, (int, float)):
        key = "differential_lr" if section.layer_decay is None else "layer_decay"
        raise ConfigError(f"optimizer.args.lr: {key} needs a learning rate")
    return lr
