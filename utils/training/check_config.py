"""Checks a whole config against the signatures it names: no data, no model, no GPU is touched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from utils import losses
from utils.config.factory import Namespace, check_spec
from utils.config.sections import Experiment, check_section
from utils.dataset_info import IGNORE_INDEX
from utils.errors import ConfigError
from utils.losses import BaseLoss
from utils.run.folder import checked_name
from utils.training.monitor import Monitor, figure_names
from utils.training.schedule import CONTEXT_NAMES, scheduler_namespace

LOSS_CONTEXT = frozenset({"weight", "ignore_index", "num_classes"})
MODEL_CONTEXT = frozenset({"num_classes", "in_channels"})
LOADER_CONTEXT = frozenset({"seed"})


def check_config(
    config: Mapping[str, Any],
    *,
    dataloaders: Namespace,
    loader_kind: type,
    models: Namespace,
    model_kind: type,
) -> list[str]:
    """Every mistake of a config that can be seen without building anything.

    Args:
        config: the parsed file.
        dataloaders: the catalogue of data sets.
        loader_kind: the base class of its entries.
        models: the catalogue of architectures.
        model_kind: the base class of its entries.

    Returns:
        One line per mistake, beginning with its JSON path.
    """
    kinds: dict[str, tuple[Namespace, type, frozenset[str]]] = {
        "arch": (models, model_kind, MODEL_CONTEXT),
        "train_loader": (dataloaders, loader_kind, LOADER_CONTEXT),
        "val_loader": (dataloaders, loader_kind, LOADER_CONTEXT),
        "loss": (losses, BaseLoss, LOSS_CONTEXT),
        "optimizer": (torch.optim, Optimizer, frozenset({"params"})),
        "lr_scheduler": (scheduler_namespace(), LRScheduler, CONTEXT_NAMES),
    }
    problems = check_section(Experiment, config)
    given = {"loss": "CrossEntropyLoss2d", **config}
    for key, (namespace, kind, context) in kinds.items():
        spec: Any = {"type": given[key]} if isinstance(given.get(key), str) else given.get(key)
        if _well_formed(spec):
            problems += check_spec(namespace, kind, spec, key, context)
    return problems + _check_values(config)


def _well_formed(spec: Any) -> bool:
    return (
        isinstance(spec, dict)
        and isinstance(spec.get("type"), str)
        and isinstance(spec.get("args", {}), dict)
    )


def _check_values(config: Mapping[str, Any]) -> list[str]:
    """What no signature can say: one key that depends on another."""
    problems = []
    if isinstance(name := config.get("name"), str):
        try:
            checked_name(name)
        except ConfigError as error:
            problems += error.problems
    ignore = config.get("ignore_index")
    if isinstance(ignore, int) and not isinstance(ignore, bool) and ignore not in (IGNORE_INDEX, -1):
        problems.append(
            f"ignore_index: {ignore}: each data set maps its void values to {IGNORE_INDEX} itself; "
            f"write {IGNORE_INDEX} or leave the key out"
        )
    if config.get("use_synch_bn") is True and _number(config.get("n_gpu", 1)) > 1:
        problems.append(
            "use_synch_bn: needs one process per GPU, which is not built yet; set it to false, or n_gpu to 1"
        )
    trainer = config.get("trainer")
    if (
        isinstance(trainer, dict)
        and trainer.get("activation_checkpointing") is True
        and config.get("compile")
    ):
        problems.append(
            "trainer.activation_checkpointing: does not go with compile, whose compiler decides itself what is "
            "computed again; set one of the two to false"
        )
    return problems + _check_training_length(config) + _check_validation(config)


def _check_validation(config: Mapping[str, Any]) -> list[str]:
    """The validation has data, and the monitored figure will be logged."""
    trainer, train_loader = config.get("trainer"), config.get("train_loader")
    if not isinstance(trainer, dict) or not isinstance(train_loader, dict):
        return []
    validates = trainer.get("val", True) is True
    args = train_loader.get("args", {})
    split = isinstance(args, dict) and args.get("val_split")
    problems = []
    if validates and not config.get("val_loader") and not split:
        problems.append(
            "val_loader: missing; give one, or train_loader.args.val_split, or set trainer.val to false"
        )
    if isinstance(setting := trainer.get("monitor", "off"), str):
        try:
            Monitor(setting, figure_names(validates=validates))
        except ConfigError as error:
            problems += error.problems
    return problems


def _check_training_length(config: Mapping[str, Any]) -> list[str]:
    scheduler, trainer = config.get("lr_scheduler"), config.get("trainer")
    if not isinstance(scheduler, dict) or not isinstance(trainer, dict):
        return []
    warmup, epochs = scheduler.get("warmup_epochs", 0), trainer.get("epochs", 1)
    if _number(warmup) and _number(warmup) >= _number(epochs):
        return [f"lr_scheduler.warmup_epochs: {warmup} leaves nothing of trainer.epochs {epochs}"]
    return []


def _number(value: Any) -> float:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0
