"""Builds the optimizer of a config, with the parameter groups that it asks for."""

from __future__ import annotations

import inspect
import logging
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
    """A model whose backbone and decoder parameters partition the trainable ones."""

    def get_backbone_params(self) -> list[nn.Parameter]: ...

    def get_decoder_params(self) -> list[nn.Parameter]: ...


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
    """Split the trainable parameters by learning rate and weight decay; no group is empty."""
    backbone, decoder = model.get_backbone_params(), model.get_decoder_params()
    parts: list[tuple[list[nn.Parameter], dict[str, Any]]]
    if section.differential_lr and backbone:
        rate = _base_lr(section) * section.backbone_lr_factor
        parts = [(decoder, {}), (backbone, {"lr": rate})]
    else:
        if section.differential_lr:
            logger.warning(
                "optimizer.differential_lr: %s has no trainable backbone; one learning rate for all",
                type(model).__name__,
            )
        parts = [(backbone + decoder, {})]
    if section.no_decay_norm_bias:
        parts = [half for params, options in parts for half in _split_decay(params, options)]
    return [{"params": params, **options} for params, options in parts if params]


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
        raise ConfigError("optimizer.args.lr: differential_lr needs a learning rate")
    return lr
