"""Building the model of a config."""

from __future__ import annotations

from torch import nn

import models
from base.base_model import BaseModel, SegmentationOutput
from utils.config.factory import Catalogue, Component, build
from utils.config.user_code import source_of
from utils.dataset_info import DatasetInfo
from utils.errors import ConfigError

MODELS = Catalogue(models, BaseModel, "model", frozenset({"num_classes", "in_channels"}))


def build_model(arch: Component, info: DatasetInfo) -> BaseModel:
    """Build the model that ``arch`` names, with the classes and channels of the data set.

    ``"num_classes": 1`` among its arguments separates two classes by one logit.

    Raises:
        ConfigError: unknown model, a refused argument, one logit for more than two classes, or a model that is
            not of the data set's classes.
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
    _check_built(model, num_classes)
    return model


def _check_built(model: BaseModel, num_classes: int) -> None:
    """Raise a ConfigError for a model of other classes; watch a ``forward`` that replaces the base's."""
    if model.num_classes != num_classes:
        place = f"arch.type: {type(model).__name__}.__init__{source_of(type(model).__init__)}"
        raise ConfigError(
            f"{place} made a model of {model.num_classes} classes, where num_classes is {num_classes}; it passes "
            "that on to BaseModel"
        )
    if type(model).forward is not BaseModel.forward:
        model.register_forward_hook(_require_output)


def _require_output(model: nn.Module, _: object, output: object) -> None:
    if not isinstance(output, SegmentationOutput):
        place = f"arch.type: {type(model).__name__}.forward{source_of(type(model).forward)}"
        what = "None" if output is None else f"a {type(output).__name__}"
        raise ConfigError(f"{place} returned {what}; it returns a SegmentationOutput, or override _forward")
