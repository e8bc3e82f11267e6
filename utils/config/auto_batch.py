"""``"batch_size": "auto"``: the keys of a config that follow from ``trainer.effective_batch``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from utils.config.factory import Problem
from utils.config.sections import Experiment
from utils.errors import ConfigError

BATCH, STEPS, EFFECTIVE = (
    "train_loader.args.batch_size",
    "trainer.accumulate_steps",
    "trainer.effective_batch",
)


def is_auto(experiment: Experiment) -> bool:
    """Return whether the batch size is still to be chosen."""
    return experiment.train_loader.args.get("batch_size") == "auto"


def with_batch(experiment: Experiment, batch: int) -> Experiment:
    """Return the experiment with a number for ``auto``, also in the config that its run saves.

    Args:
        experiment: with ``effective_batch``.
        batch: a divisor of ``effective_batch``; ``accumulate_steps`` follows from it.
    """
    assert experiment.trainer.effective_batch is not None  # a check of every config
    steps = experiment.trainer.effective_batch // batch
    plain = json.loads(json.dumps(experiment.plain))
    plain["train_loader"]["args"]["batch_size"] = batch
    plain["trainer"]["accumulate_steps"] = steps
    loader = replace(experiment.train_loader, args={**experiment.train_loader.args, "batch_size": batch})
    return replace(
        experiment,
        train_loader=loader,
        trainer=replace(experiment.trainer, accumulate_steps=steps),
        plain=plain,
        origins={**experiment.origins, BATCH: "auto", STEPS: "auto"},
    )


def as_recorded(experiment: Experiment, config: Mapping[str, Any]) -> Experiment:
    """Return the experiment with the batch size that its run was started with, for ``auto``.

    Args:
        experiment: the config to continue with.
        config: plain values of the config of the run.

    Raises:
        ConfigError: the run takes steps of another number of images.
    """
    if not is_auto(experiment):
        return experiment
    batch = config["train_loader"]["args"]["batch_size"]
    images = batch * config["trainer"].get("accumulate_steps", 1)
    if images != experiment.trainer.effective_batch:
        raise ConfigError(
            f"{BATCH}: 'auto' is chosen when a run starts, and this one takes steps of {images} images, not of "
            f"{EFFECTIVE} {experiment.trainer.effective_batch}; to change that, write numbers"
        )
    return with_batch(experiment, batch)


def batch_problems(experiment: Experiment) -> list[str]:
    """Return what contradicts itself in the batch size, ``accumulate_steps`` and ``effective_batch``."""
    options, loader = experiment.trainer, experiment.val_loader
    batch, wanted = experiment.train_loader.args.get("batch_size"), options.effective_batch
    problems: list[str] = []
    if loader is not None and loader.args.get("batch_size") == "auto":
        reason = "'auto' is for training data; it takes a number here, on which no figure depends"
        problems.append(Problem("val_loader.args.batch_size", reason))
    if batch == "auto" and wanted is None:
        reason = f"missing; {BATCH} 'auto' needs it: the images of an optimizer step"
        problems.append(Problem(EFFECTIVE, reason))
    elif batch == "auto" and options.accumulate_steps != 1:
        reason = (
            f"{options.accumulate_steps} is not used: with 'auto' it follows from {EFFECTIVE}; leave it out"
        )
        problems.append(Problem(STEPS, reason))
    elif isinstance(batch, int) and wanted is not None and wanted != batch * options.accumulate_steps:
        reason = f"{wanted} is not {BATCH} {batch} x {STEPS} {options.accumulate_steps}; correct one of them"
        problems.append(Problem(EFFECTIVE, f"{reason}, or write {BATCH} 'auto'"))
    return problems
