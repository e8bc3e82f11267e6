"""Building the loss of a config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from utils import losses
from utils.config.factory import Catalogue, Component, build, find, parameters_of
from utils.config.sections import Experiment
from utils.data.class_histograms import Labels
from utils.data.class_weights import compute_class_weights
from utils.dataset_info import IGNORE_INDEX, DatasetInfo
from utils.errors import ConfigError
from utils.losses.base import BaseLoss

LOSSES = Catalogue(losses, BaseLoss, "loss", frozenset({"weight", "ignore_index", "num_classes"}))


def build_criterion(experiment: Experiment, info: DatasetInfo, dataset: Labels) -> BaseLoss:
    """Build the loss, with the data set's classes and void value and the config's class weights.

    Args:
        experiment: the config.
        info: classes of the data set.
        dataset: the training masks, from which class weights are computed where the config names a rule.

    Raises:
        ConfigError: unknown loss or refused argument; class weights that do not fit classes or loss.
    """
    loss = experiment.loss or Component("CrossEntropyLoss2d")
    weights = class_weights(experiment, info, dataset)
    context: dict[str, Any] = {"ignore_index": IGNORE_INDEX, "num_classes": info.num_classes}
    if weights is not None:
        if "weight" not in parameters_of(find(LOSSES, loss.type, "loss.type")):
            raise ConfigError(f"class_weights: {loss.type} takes none; leave the key out")
        context["weight"] = weights
    return build(LOSSES, loss, "loss", **context)


def class_weights(experiment: Experiment, info: DatasetInfo, dataset: Labels) -> Sequence[float] | None:
    """Return one weight per class, or ``None`` where the config asks for none.

    Raises:
        ConfigError: their number is not that of the classes.
    """
    weights = experiment.class_weights
    if isinstance(weights, str):
        return compute_class_weights(weights, dataset, info)
    if weights is not None and len(weights) != info.num_classes:
        raise ConfigError(
            f"class_weights: {len(weights)} numbers for {info.num_classes} classes ({', '.join(info.classes)})"
        )
    return weights
