"""Building the model of a config, or the one that a checkpoint was trained with."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

import models
from base.base_model import BaseModel
from base.outputs import SegmentationOutput
from models.weights.read import KEY, PACKAGE
from utils import __version__
from utils.config.factory import Catalogue, Component, build, find
from utils.config.sections import Experiment
from utils.config.user_code import source_of
from utils.dataset_info import DatasetInfo
from utils.errors import ConfigError

MODELS = Catalogue(models, BaseModel, "model", frozenset({"num_classes", "in_channels"}))


def build_model(arch: Component, info: DatasetInfo, version: int | None = None) -> BaseModel:
    """Build the model that ``arch`` names, with the classes and channels of the data set.

    ``"num_classes": 1`` among its arguments separates two classes by one logit.

    Args:
        arch: class and arguments.
        info: the facts of the data set.
        version: architecture version of the weights to load; ``None`` is the newest.

    Raises:
        ConfigError: unknown model, a refused argument, one logit for more than two classes, a version that
            cannot be built, or a model that is not of the data set's classes.
    """
    arch = of_version(arch, version)
    asked = arch.args.get("num_classes")
    one_logit = type(asked) is int and asked == 1
    if one_logit and info.num_classes != 2:
        raise ConfigError(
            f"arch.args.num_classes: one logit separates two classes, the data set has {info.num_classes}; "
            "leave it out"
        )
    if arch.args.get("pretrained") == "":  # which constructors would take for false
        raise ConfigError(f"{KEY}: is empty; give a file, {PACKAGE}PACKAGE, true or false")
    num_classes = 1 if one_logit else info.num_classes
    model = build(MODELS, arch, "arch", num_classes=num_classes, in_channels=info.in_channels)
    model.one_logit = one_logit
    _check_built(model, num_classes)
    return model


def with_resolved_arch(experiment: Experiment) -> Experiment:
    """Return the experiment with all that a run records of its model, see :meth:`BaseModel.resolve_arguments`.

    Raises:
        ConfigError: what the arguments name cannot be read.
    """
    arch = experiment.arch
    try:
        arguments = find(MODELS, arch.type, "arch.type").resolve_arguments(arch.args)
    except ValueError as error:
        raise ConfigError(f"arch.args: {arch.type}: {error}") from error
    if arguments == arch.args:
        return experiment
    plain = {**experiment.plain, "arch": {**experiment.plain["arch"], "args": arguments}}
    return replace(experiment, arch=replace(arch, args=arguments), plain=plain)


def build_untrained(arch: Component, info: DatasetInfo, version: int | None = None) -> BaseModel:
    """Build a model whose weights are loaded afterwards, or do not matter: no argument fetches any.

    Args:
        arch: class and arguments.
        info: the facts of the data set.
        version: as for :func:`build_model`.

    Raises:
        ConfigError: as :func:`build_model`.
    """
    cls = find(MODELS, arch.type, "arch.type")
    known = inspect.signature(cls).parameters
    off = {name: value for name, value in cls.fetches.items() if name in known}
    return build_model(replace(arch, args={**arch.args, **off}), info, version)


def of_version(arch: Component, version: int | None) -> Component:
    """Return the component that builds today what an architecture version built.

    Args:
        arch: class and arguments, as the checkpoint records them.
        version: that of the checkpoint; ``None`` is the newest.

    Raises:
        ConfigError: the version is newer than the class, or the class has no such form any more.
    """
    cls = find(MODELS, arch.type, "arch.type")
    newest = cls.architecture_version
    if version is None or version == newest:
        return arch
    found = f"arch.type: {arch.type} is of architecture version {version}, Segwright {__version__} knows"
    if version > newest:
        raise ConfigError(f"{found} {newest} and older; use a newer Segwright")
    try:
        return replace(arch, args=cls.arguments_of_version(version, arch.args))
    except ValueError as error:
        raise ConfigError(
            f"{found} version {newest} only; use the version of Segwright that trained it"
        ) from error


def recorded_version(arch: Component, checkpoint: Mapping[str, Any] | None) -> int:
    """Return the architecture version of a run: that of the checkpoint it continues from, or the newest."""
    if checkpoint is not None and checkpoint.get("arch", {}).get("type") == arch.type:
        return int(checkpoint.get("architecture_version", 1))
    return find(MODELS, arch.type, "arch.type").architecture_version


def names_of(model: BaseModel) -> set[str]:
    """Return the names by which a config may call the class of a model."""
    return {type(model).__name__, *(name for name, cls in MODELS.classes().items() if cls is type(model))}


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
