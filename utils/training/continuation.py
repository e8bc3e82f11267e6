"""The continuation of a run whose config has changed: each change takes effect or is refused by its path."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sized
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim import Optimizer

from utils.config.changes import refused_changes
from utils.config.factory import build
from utils.config.sections import Experiment, OptimizerSection
from utils.dataset_info import DatasetInfo
from utils.errors import CheckpointError, ConfigError, first_line
from utils.training.monitor import Monitor
from utils.training.optimizer import OPTIMIZERS, build_optimizer
from utils.training.schedule import build_schedule, steps_of_epoch
from utils.training.stepper import Stepper

logger = logging.getLogger(__name__)

Changes = Mapping[str, tuple[Any, Any]]

# an epoch's batches and steps follow from these, so they cannot change within one
_OF_AN_EPOCH = ("train_loader", "trainer.accumulate_steps", "trainer.crop_schedule")
# validations before and after a change of these do not compare, whatever figure is monitored
_OF_THE_FIGURES = (
    "val_loader",
    "train_loader.type",
    "train_loader.args.val_split",
    "train_loader.args.split",
)
_OF_THE_LOSS = ("loss", "class_weights", "trainer.aux_weight", "teacher")
_OF_THE_RATES = (
    "lr_scheduler",
    "trainer.epochs",
    "optimizer.args.lr",
    "optimizer.args.momentum",
    "optimizer.args.betas",
    "optimizer.backbone_lr_factor",
)
# the schedule sets these, so a rebuilt one must start from the config's values
_SET_BY_SCHEDULES = ("lr", "momentum", "betas")


class ContinuedTrainer(Protocol):
    """The parts of a trainer that a change of the config reaches."""

    @property
    def model(self) -> Any: ...
    @property
    def info(self) -> DatasetInfo: ...
    @property
    def stepper(self) -> Stepper: ...
    @property
    def monitor(self) -> Monitor: ...
    @property
    def train_loader(self) -> Sized: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def continue_run(trainer: ContinuedTrainer, checkpoint: Mapping[str, Any], experiment: Experiment) -> None:
    """Load a checkpoint into a trainer; what has changed in the config since then takes effect.

    Without a change the run continues to the bit.

    Args:
        trainer: built from ``experiment``, not started.
        checkpoint: with the config that the run had.
        experiment: the config to continue with; its differences were allowed.

    Raises:
        ConfigError: naming every change that cannot take effect.
        CheckpointError: the state does not fit.
    """
    changed = refused_changes(checkpoint["config"], experiment)
    before = _Before(checkpoint)
    _refuse_within_an_epoch(changed, before)
    _refuse_other_classes(trainer, changed, before)
    _refuse_options_without_state(trainer, experiment, changed)
    schedule_state = checkpoint["lr_scheduler"]
    rebuilds = _rebuilds(trainer, experiment, changed, before)
    state = {**checkpoint, **_adapted(trainer, checkpoint, changed)}
    if rebuilds:
        state["lr_scheduler"] = trainer.stepper.schedule.state_dict()
    try:
        trainer.load_state_dict(state)
    except CheckpointError as error:
        architecture = [path for path in changed if path.partition(".")[0] == "arch"]
        if not architecture:
            raise
        raise ConfigError([f"{path}: cannot change: {error}" for path in architecture]) from error
    if changed:
        _apply_options(trainer, experiment, changed)
    if rebuilds:
        same_figure = not _best_is_incomparable(trainer, changed)
        _rebuild_schedule(trainer, experiment, before, schedule_state, same_figure=same_figure)
    for path, (was, now) in changed.items():
        logger.info("%s: %r from here on, %r before", path, now, was)


class _Before:
    """Facts of the run up to the checkpoint."""

    def __init__(self, checkpoint: Mapping[str, Any]) -> None:
        options = checkpoint["config"].get("trainer", {})
        self.epoch, self.step = checkpoint["epoch"], checkpoint["step"]
        self.dataset = checkpoint["dataset"]
        self.accumulate_steps = options.get("accumulate_steps", 1)
        self.steps_per_epoch = -(-checkpoint["iters_per_epoch"] // self.accumulate_steps)
        self.scheduled_steps = checkpoint["lr_scheduler"]["steps"]
        # a run of an earlier version may have waited for a figure to fall that should rise
        self.mode = (checkpoint["lr_scheduler"]["scheduler"] or {}).get("mode")
        self.group_lrs = [group["lr"] for group in checkpoint["optimizer"]["param_groups"]]

    def reached(self, steps_per_epoch: int) -> int:
        """Return the optimizer step of the schedule that the run has reached, in epochs of another length."""
        if steps_per_epoch == self.steps_per_epoch:
            return int(self.scheduled_steps)  # without the steps that fp16 skipped
        return int((self.epoch - 1) * steps_per_epoch + -(-self.step // self.accumulate_steps))


def _touches(changed: Changes, prefixes: tuple[str, ...]) -> list[str]:
    """Return the changed paths that are one of ``prefixes`` or lie below it."""
    return [path for path in changed if any(path == p or path.startswith(f"{p}.") for p in prefixes)]


# ---- refusals ------------------------------------------------------------------------------------


def _refuse_within_an_epoch(changed: Changes, before: _Before) -> None:
    paths = _touches(changed, _OF_AN_EPOCH) if before.step else []
    if paths:
        reason = (
            f"cannot change within an epoch, and the checkpoint is {before.step} batches into epoch "
            f"{before.epoch}; continue without the change to the end of the epoch, or from the checkpoint of "
            "an epoch's end"
        )
        raise ConfigError([f"{path}: {reason}" for path in paths])


def _refuse_other_classes(trainer: ContinuedTrainer, changed: Changes, before: _Before) -> None:
    if list(trainer.info.classes) == list(before.dataset["classes"]):
        return
    paths = _touches(changed, ("train_loader",)) or ["train_loader"]
    raise ConfigError([f"{path}: the data has other classes than the run was started with" for path in paths])


def _refuse_options_without_state(
    trainer: ContinuedTrainer, experiment: Experiment, changed: Changes
) -> None:
    """Refuse optimizer arguments that the state saved with the old ones cannot serve, by trying them."""
    paths = _touches(changed, ("optimizer.args",))
    if not paths:
        return
    section = experiment.optimizer
    old = dict(section.args)
    for path, (was, _) in changed.items():
        if path in paths:
            old[path.split(".")[2]] = was
    old = {name: value for name, value in old.items() if value is not None}
    groups = trainer.stepper.optimizer.param_groups
    problems = [
        f"{path}: cannot change: {section.type} keeps it in no parameter group"
        for path in paths
        if path.split(".")[2] not in groups[0]
    ]
    if not problems:
        try:
            _try_options(OptimizerSection(section.type, old), section, paths)
        except Exception as error:  # an optimizer may raise anything for want of its state
            problems = [f"{path}: cannot change: the saved state does not serve it ({first_line(error)})"
                        for path in paths]  # fmt: skip
    if problems:
        raise ConfigError(problems)


def _try_options(old: OptimizerSection, new: OptimizerSection, paths: list[str]) -> None:
    """Take a step with ``old`` and, with its state, another with ``new``."""
    weight = nn.Parameter(torch.zeros(2, 2))
    first, second = (
        build(OPTIMIZERS, OptimizerSection(s.type, s.args), "optimizer", params=[weight]) for s in (old, new)
    )
    wanted = {path.split(".")[2]: second.param_groups[0][path.split(".")[2]] for path in paths}
    weight.grad = torch.ones(2, 2)
    first.step()
    second.load_state_dict(first.state_dict())
    second.param_groups[0].update(wanted)
    second.step()


# ---- changes that take effect --------------------------------------------------------------------


def _adapted(trainer: ContinuedTrainer, checkpoint: Mapping[str, Any], changed: Changes) -> dict[str, Any]:
    """Return the entries of the checkpoint that the new config replaces."""
    entries: dict[str, Any] = {}
    stepper = trainer.stepper
    if stepper.ema is not None and (checkpoint["ema"] is None or checkpoint.get("swa_epoch")):
        entries["ema"], entries["ema_updates"] = checkpoint["model"], 0  # the average starts here
    if stepper.scaler.is_enabled() and not checkpoint["scaler"]:
        entries["scaler"] = stepper.scaler.state_dict()
    if _best_is_incomparable(trainer, changed):
        logger.info("The best validation so far is forgotten: figures before this change do not compare")
        entries["monitor"] = trainer.monitor.state_dict()
    return entries


def _best_is_incomparable(trainer: ContinuedTrainer, changed: Changes) -> bool:
    if _touches(changed, _OF_THE_FIGURES) or _figure_changed(changed):
        return True
    monitors_loss = (trainer.monitor.name or "").endswith("_loss")
    monitors_training = (trainer.monitor.name or "").startswith("train_")
    return bool(
        (monitors_loss and _touches(changed, _OF_THE_LOSS))
        or (monitors_training and _touches(changed, ("train_loader",)))
    )


def _figure_changed(changed: Changes) -> bool:
    return bool(_touches(changed, ("trainer.monitor", "trainer.val")))


def _apply_options(trainer: ContinuedTrainer, experiment: Experiment, changed: Changes) -> None:
    """Set the changed optimizer arguments of every parameter group."""
    names = {path.split(".")[2] for path in _touches(changed, ("optimizer.args",))}
    fresh = build_optimizer(experiment.optimizer, trainer.model)
    _copy_options(fresh, trainer.stepper.optimizer, names - set(_SET_BY_SCHEDULES))


def _copy_options(source: Optimizer, target: Optimizer, names: set[str]) -> None:
    for new, group in zip(source.param_groups, target.param_groups, strict=True):
        group.update({name: new[name] for name in names if name in new})


def _rebuilds(trainer: ContinuedTrainer, experiment: Experiment, changed: Changes, before: _Before) -> bool:
    """Return whether the saved schedule is not the one of the new config."""
    steps = steps_of_epoch(trainer.train_loader, experiment.trainer.accumulate_steps)
    schedule = trainer.stepper.schedule
    follows = schedule.follows_figure and (_figure_changed(changed) or schedule.mode != before.mode)
    return bool(_touches(changed, _OF_THE_RATES)) or follows or steps != before.steps_per_epoch


def _rebuild_schedule(
    trainer: ContinuedTrainer,
    experiment: Experiment,
    before: _Before,
    old: Mapping[str, Any],
    *,
    same_figure: bool,
) -> None:
    """Build the schedule for the new config and place it at the step that the run has reached."""
    options, optimizer = experiment.trainer, trainer.stepper.optimizer
    steps_per_epoch = steps_of_epoch(trainer.train_loader, options.accumulate_steps)
    fresh = build_optimizer(experiment.optimizer, trainer.model)
    for group, plain in zip(optimizer.param_groups, fresh.param_groups, strict=True):
        for name in group.keys() - plain.keys():
            del group[name]  # an entry of the schedule before, such as initial_lr
    _copy_options(fresh, optimizer, set(_SET_BY_SCHEDULES))
    schedule = build_schedule(
        experiment.lr_scheduler, optimizer, options.epochs, steps_per_epoch, options.monitor
    )
    schedule.place(before.epoch - 1, before.reached(steps_per_epoch))
    schedule.follow_on(old, before.group_lrs, same_figure=same_figure)
    trainer.stepper.schedule = schedule
    logger.info(
        "The learning-rate schedule is built for %d epochs and placed at step %d: %s",
        options.epochs, schedule.steps, ", ".join(f"{lr:.3g}" for lr in schedule.lrs),
    )  # fmt: skip
