"""Building the model of a config."""

from __future__ import annotations

import inspect
from dataclasses import replace

import models
from base.base_model import BaseModel
from utils.config.factory import Catalogue, Component, build, find
from utils.dataset_info import DatasetInfo
from utils.errors import ConfigError

MODELS = Catalogue(models, BaseModel, "model", frozenset({"num_classes", "in_channels"}))


def build_model(arch: Component, info: DatasetInfo) -> BaseModel:
    """Build the model that ``arch`` names, with the classes and channels of the data set.

    ``"num_classes": 1`` among its arguments separates two classes by one logit.

    Raises:
        ConfigError: unknown model, a refused argument, or one logit for more than two classes.
    """
    asked = arch.args.get("num_classes")
    one_logit = type(asked) is int and asked == 1
    if one_logit and info.num_classes != 2:
        raise ConfigError(
            f"arch.args.num_classes: one logit separates two classes, the data set has {info.num_classes}; "
            "leave it out"
        )
    num_classes = 1 if one_logit else info.num_classes
    model = build(MODELS, arch, "arch", num_classes=num_classes, in_channels=info.in_channels)
    model.one_logit = one_logit
    return model


def build_untrained(arch: Component, info: DatasetInfo) -> BaseModel:
    """Build a model whose weights are loaded afterwards, or do not matter: no argument fetches any.

    Raises:
        ConfigError: as :func:`build_model`.
    """
    cls = find(MODELS, arch.type, "arch.type")
    known = inspect.signature(cls).parameters
    off = {name: value for name, value in cls.fetches.items() if name in known}
    return build_model(replace(arch, args={**arch.args, **off}), info)
