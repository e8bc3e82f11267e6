"""Builds a model from a config's ``arch`` section or from a checkpoint."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import models
from base.base_model import BaseModel
from utils.config.factory import build, find
from utils.dataset_info import DatasetInfo
from utils.errors import CheckpointError, ConfigError


def build_model(arch: Mapping[str, Any], info: DatasetInfo) -> BaseModel:
    """Build the model that ``arch`` names, with the classes and channels of the data set.

    With ``"num_classes": 1`` among its arguments, two classes are told apart by one logit.

    Raises:
        ConfigError: unknown model or argument, or one logit for more than two classes.
    """
    asked = arch.get("args", {}).get("num_classes")
    one_logit = type(asked) is int and asked == 1
    if one_logit and info.num_classes != 2:
        raise ConfigError(
            f"arch.args.num_classes: one logit tells two classes apart, the data set has {info.num_classes}; "
            "leave it out"
        )
    model = build(
        models, BaseModel, arch, "arch",
        num_classes=1 if one_logit else info.num_classes, in_channels=info.in_channels,
    )  # fmt: skip
    model.one_logit = one_logit
    return model


def model_from_checkpoint(checkpoint: Mapping[str, Any]) -> tuple[BaseModel, DatasetInfo]:
    """Rebuild a trained model, in eval mode on the CPU, with the facts of its data set.

    The average weights are taken where the run kept them. Nothing is downloaded.

    Args:
        checkpoint: what :func:`utils.run.checkpoint.load_checkpoint` returned.

    Raises:
        CheckpointError: it does not hold a model, or its weights do not fit the architecture.
    """
    try:
        arch, info = checkpoint["arch"], DatasetInfo.from_plain(checkpoint["dataset"])
        weights = checkpoint.get("ema") or checkpoint["model"]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"the checkpoint holds no complete model: {error!r}") from error
    try:
        model = build_model(_without_pretrained(arch), info)
    except ConfigError as error:
        raise CheckpointError(f"the checkpoint's model cannot be built: {error}") from error
    load_weights(model, weights)
    return model.eval(), info


def load_weights(model: BaseModel, weights: Mapping[str, Any]) -> None:
    """Load a state dict that must fit exactly.

    Raises:
        CheckpointError: it does not; the message counts and names what differs.
    """
    own = model.state_dict()
    missing, unexpected = own.keys() - weights.keys(), weights.keys() - own.keys()
    reshaped = [k for k in own.keys() & weights.keys() if own[k].shape != weights[k].shape]
    if missing or unexpected or reshaped:
        first = sorted([*missing, *unexpected, *reshaped])[0]
        raise CheckpointError(
            f"the weights are of another architecture than {type(model).__name__}: {len(missing)} "
            f"missing, {len(unexpected)} unexpected, {len(reshaped)} of another shape (first: {first})"
        )
    model.load_state_dict(weights)


def _without_pretrained(arch: Mapping[str, Any]) -> dict[str, Any]:
    """The weights come from the checkpoint, so the constructor must not fetch any."""
    args = dict(arch.get("args", {}))
    cls = find(models, BaseModel, arch["type"], "arch.type")
    if "pretrained" in inspect.signature(cls).parameters:
        args["pretrained"] = False
    return {"type": arch["type"], "args": args}
