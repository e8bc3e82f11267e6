"""Checks of a config that need more than its own keys: loss, optimizer, schedule, monitor, name of the run."""

from __future__ import annotations

from typing import Any

from torch.optim.lr_scheduler import ReduceLROnPlateau

from utils.augment.warp import size_of
from utils.config.auto_batch import BATCH, EFFECTIVE, STEPS, batch_problems
from utils.config.factory import Catalogue, Problem, find, show
from utils.config.sections import Experiment, cross_check
from utils.errors import ConfigError
from utils.losses.build import LOSSES
from utils.run.folder import checked_name
from utils.training.monitor import Monitor, figure_names, names_a_class
from utils.training.optimizer import OPTIMIZERS
from utils.training.schedule import SCHEDULERS

CATALOGUES: dict[str, Catalogue[Any]] = {
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "lr_scheduler": SCHEDULERS,
}


@cross_check("name")
def name_is_a_folder(experiment: Experiment) -> list[str]:
    """The run's name cannot lead out of its folder."""
    try:
        checked_name(experiment.name)
    except ConfigError as error:
        return error.problems
    return []


@cross_check("trainer.monitor", "trainer.val")
def monitored_figure_is_logged(experiment: Experiment) -> list[str]:
    """The figure that decides which checkpoint is best is logged."""
    setting = experiment.trainer.monitor
    named = names_a_class(setting)  # the trainer knows whether the data has it
    try:
        Monitor(setting, figure_names(validates=experiment.trainer.val, classes=[named] if named else ()))
    except ConfigError as error:
        return error.problems
    return []


@cross_check("lr_scheduler.type", "lr_scheduler.args", "trainer.monitor")
def plateau_follows_the_monitor(experiment: Experiment) -> list[str]:
    """A scheduler that waits for a figure waits for the monitored one, in its direction."""
    section, monitor = experiment.lr_scheduler, experiment.trainer.monitor
    if section is None or not issubclass(
        find(SCHEDULERS, section.type, "lr_scheduler.type"), ReduceLROnPlateau
    ):
        return []
    if monitor == "off":
        reason = f"{section.type} waits for the figure of trainer.monitor, which is off"
        return [Problem("lr_scheduler.type", reason)]
    direction, given = monitor.partition(" ")[0], section.args.get("mode")
    if given in (None, direction):
        return []
    reason = f"'{given}' is contrary to trainer.monitor '{monitor}'; leave it out, it follows the monitor"
    return [Problem("lr_scheduler.args.mode", reason)]


@cross_check("arch.type", "loss", "class_weights")
def model_and_config_do_not_both_bring_a_loss(experiment: Experiment) -> list[str]:
    """A model that brings its own training loss leaves nothing to keys of the config about it."""
    name = experiment.arch.type
    cls: Any = find(experiment.catalogues["arch"], name, "arch.type")
    if not cls.brings_loss_for(experiment.arch.args):
        return []
    given = {
        "loss": experiment.loss.type if experiment.loss and "loss" in experiment.plain else None,
        "class_weights": experiment.class_weights,
    }
    reason = (
        f"is not used: arch.type {name} brings its own training loss, set by arch.args; leave the key out"
    )
    return [Problem(key, f"{show(value)} {reason}") for key, value in given.items() if value is not None]


@cross_check("trainer.ema_decay", "trainer.ema_ramp", "trainer.swa_epochs", "trainer.epochs")
def one_average_of_weights(experiment: Experiment) -> list[str]:
    """A run keeps one average of its weights, over its steps or over its last epochs."""
    options = experiment.trainer
    problems: list[str] = []
    if options.ema_ramp and options.ema_decay is None:
        problems.append(Problem("trainer.ema_ramp", "raises trainer.ema_decay, which is not set"))
    if options.swa_epochs and options.ema_decay is not None:
        reason = "a second average of the weights beside trainer.ema_decay; leave one of the two out"
        problems.append(Problem("trainer.swa_epochs", reason))
    if options.swa_epochs > options.epochs:
        reason = f"{options.swa_epochs} is more than trainer.epochs {options.epochs}"
        problems.append(Problem("trainer.swa_epochs", reason))
    return problems


@cross_check("trainer.crop_schedule", "train_loader.args")
def crops_follow_a_schedule(experiment: Experiment) -> list[str]:
    """The shares of a crop schedule rise, and it ends at the crop size of the data."""
    key, schedule = "trainer.crop_schedule", experiment.trainer.crop_schedule
    if schedule is None:
        return []
    problems: list[str] = []
    shares = [share for share, _ in schedule]
    if not shares or shares != sorted(set(shares)) or not 0 < shares[0] <= shares[-1] < 1:
        reason = f"the shares of the run {shares} are not rising numbers above 0 and below 1"
        problems.append(Problem(key, reason))
    last = experiment.train_loader.args.get("crop_size")
    if not last:
        reason = "leads up to train_loader.args.crop_size, which is not set"
        problems.append(Problem(key, reason))
    elif any(
        side > most for _, size in schedule for side, most in zip(size_of(size), size_of(last), strict=True)
    ):
        reason = f"a crop is larger than train_loader.args.crop_size {show(last)}, to which they rise"
        problems.append(Problem(key, reason))
    return problems


@cross_check(BATCH, EFFECTIVE, STEPS, "val_loader.args.batch_size")
def batches_make_up_a_step(experiment: Experiment) -> list[str]:
    """The images of a step are those of its batches."""
    return batch_problems(experiment)


CHECKS = (
    name_is_a_folder,
    monitored_figure_is_logged,
    plateau_follows_the_monitor,
    model_and_config_do_not_both_bring_a_loss,
    one_average_of_weights,
    crops_follow_a_schedule,
    batches_make_up_a_step,
)
