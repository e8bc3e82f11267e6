"""A continued run whose config has changed: every key takes effect, is refused by its path, or may differ."""

from __future__ import annotations

import copy
import dataclasses
import logging
from typing import Any, get_type_hints

import pytest
import torch
from pytest import approx

from tests.experiments import experiment_of
from train import build_trainer
from utils.config.annotations import may_change
from utils.config.sections import Experiment, OptimizerSection, SchedulerSection, TrainerSection
from utils.errors import CheckpointError, ConfigError
from utils.run.checkpoint import load_checkpoint
from utils.run.resume import refuse_changes
from utils.training.continuation import continue_run
from utils.training.schedule import OneCycle, build_schedule

STEPS = 3  # of an epoch
CONFIG: dict[str, Any] = {
    "name": "run",
    "n_gpu": 0,
    "arch": {"type": "UNet", "args": {"base_channels": 2}},
    "train_loader": {
        "type": "Shapes",
        "args": {"split": "train", "num_images": 12, "image_size": 16, "batch_size": 4, "shuffle": True},
    },
    "val_loader": {
        "type": "Shapes",
        "args": {"split": "val", "num_images": 2, "image_size": 16, "batch_size": 2, "val": True},
    },
    "optimizer": {"type": "SGD", "args": {"lr": 0.05, "momentum": 0.9}},
    "loss": "CrossEntropyLoss2d",
    "lr_scheduler": {"type": "Poly", "args": {}},
    "trainer": {"epochs": 4, "tensorboard": False, "save_period": 1},
}


def changed_config(changes: dict[str, Any], base: dict[str, Any] = CONFIG) -> dict[str, Any]:
    config = copy.deepcopy(base)
    for path, value in changes.items():
        node, keys = config, path.split(".")
        for key in keys[:-1]:
            node = node.setdefault(key, {})
        node[keys[-1]] = value
    return config


def state_after_two_epochs(folder, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the state after two of four epochs of a run."""
    config = changed_config({"trainer.save_dir": str(folder), **(changes or {})})
    trainer = build_trainer(experiment_of(config), "cpu")
    trainer.train()
    return load_checkpoint(trainer.run.path / "checkpoint-epoch2.pth")


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    made: dict[str, dict[str, Any]] = {}

    def state(**changes: Any) -> dict[str, Any]:
        key = repr(changes)
        if key not in made:
            paths = {path.replace("__", "."): value for path, value in changes.items()}
            made[key] = state_after_two_epochs(tmp_path_factory.mktemp("run"), paths)
        return copy.deepcopy(made[key])

    return state


def continued(state: dict[str, Any], changes: dict[str, Any]):
    """Return a trainer that continues from a state with changes that the user allowed."""
    experiment = experiment_of(changed_config(changes, state["config"]))
    refuse_changes(state, experiment, allowed=True)
    trainer = build_trainer(experiment, "cpu")
    continue_run(trainer, state, experiment)
    return trainer


def poly(step: int, steps: int, lr: float = 0.05) -> float:
    return lr * (1 - step / steps) ** 0.9


def group(trainer) -> dict[str, Any]:
    return trainer.stepper.optimizer.param_groups[0]


def scheduler(trainer):
    return trainer.stepper.schedule.scheduler


def lr(trainer) -> float:
    return trainer.stepper.schedule.lrs[0]


def nchw(trainer) -> bool:
    """Return whether the images of the first batch are contiguous as (N, C, H, W)."""
    (batch,) = next(trainer.train_groups(3))
    return bool(batch.images.is_contiguous())


def frozen(trainer, epoch: int) -> bool:
    """Return whether batch norm keeps its statistics in an epoch."""
    trainer.phases.start_epoch(epoch)
    return not trainer.model.inc[0][1].training


def forgot(trainer, name: str) -> bool:
    return trainer.monitor.name == name and trainer.monitor.best is None


WEIGHTS = [1, 2, 3, 4, 5, 6, 7]
STAYED = approx(poly(2 * STEPS, 4 * STEPS))
TAKES_EFFECT = {
    "train_loader": ({"train_loader.args.batch_size": 2}, lambda t: lr(t) == STAYED and len(t.train_loader) == 6),
    "val_loader": ({"val_loader.args.num_images": 3}, lambda t: len(t.val_loader.dataset) == 3),
    "loss": ({"loss": "DiceLoss"}, lambda t: type(t.criterion).__name__ == "DiceLoss"),
    "class_weights": ({"class_weights": WEIGHTS}, lambda t: t.criterion.weight.tolist() == WEIGHTS),
    "deterministic": ({"deterministic": True}, lambda t: torch.are_deterministic_algorithms_enabled()),
    "precision": ({"precision": "bf16"}, lambda t: t.precision.name == "bf16"),
    "channels_last": ({"channels_last": False}, nchw),
    "optimizer.args": ({"optimizer.args.lr": 0.5}, lambda t: lr(t) == approx(poly(6, 12, 0.5))),
    "optimizer.backbone_lr_factor": ({"optimizer.backbone_lr_factor": 0.5}, lambda t: lr(t) == STAYED),
    "lr_scheduler": ({"lr_scheduler": None}, lambda t: lr(t) == 0.05),
    "lr_scheduler.type": ({"lr_scheduler.type": "OneCycle"}, lambda t: isinstance(scheduler(t), OneCycle)),
    "lr_scheduler.args": ({"lr_scheduler.args.power": 2.0}, lambda t: lr(t) == approx(0.05 / 4)),
    "lr_scheduler.interval": ({"lr_scheduler.interval": "epoch"}, lambda t: lr(t) == approx(poly(2, 12))),
    "lr_scheduler.warmup_epochs": ({"lr_scheduler.warmup_epochs": 1}, lambda t: lr(t) == approx(poly(3, 9))),
    "trainer.epochs": ({"trainer.epochs": 8}, lambda t: lr(t) == approx(poly(6, 24))),
    "trainer.monitor": ({"trainer.monitor": "min loss"}, lambda t: forgot(t, "val_loss")),
    "trainer.early_stop": ({"trainer.early_stop": 9}, lambda t: t.monitor.early_stop == 9),
    "trainer.val": ({"trainer.val": False}, lambda t: forgot(t, "train_Mean_IoU")),
    "trainer.val_per_epochs": ({"trainer.val_per_epochs": 2}, lambda t: not t._validates(3)),
    "trainer.aux_weight": ({"trainer.aux_weight": 0.1}, lambda t: t.options.aux_weight == 0.1),
    "trainer.clip_grad_norm": ({"trainer.clip_grad_norm": 1.0}, lambda t: t.stepper.clip_grad_norm == 1.0),
    "trainer.accumulate_steps": ({"trainer.accumulate_steps": 3}, lambda t: t.stepper.schedule.steps == 2),
    "trainer.ema_decay": ({"trainer.ema_decay": 0.5}, lambda t: torch.equal(
        next(t.stepper.ema.module.parameters()), next(t.model.parameters()))),
    "trainer.ema_ramp": (
        {"trainer.ema_decay": 0.5, "trainer.ema_ramp": True}, lambda t: t.stepper.ema.decay_at(1) == 2 / 11),
    "trainer.swa_epochs": ({"trainer.swa_epochs": 2}, lambda t: t.phases.average.first == 3),
    "trainer.bn_momentum": ({"trainer.bn_momentum": 0.3}, lambda t: t.model.inc[0][1].momentum == 0.3),
    "trainer.bn_freeze_from": ({"trainer.bn_freeze_from": 0.5}, lambda t: not frozen(t, 2) and frozen(t, 3)),
    "trainer.crop_schedule": (
        {"trainer.crop_schedule": [[0.7, 8]], "train_loader.args.crop_size": 16},
        lambda t: next(t.train_groups(3))[0].images.shape[-1] == 8),
}  # fmt: skip
REFUSED = {
    "name": {"name": "other"},
    "seed": {"seed": 3},
    "init_from": {"init_from": "other.pth"},
    "arch": {"arch": {"type": "ENet"}},
    "optimizer.type": {"optimizer": {"type": "AdamW", "args": {"lr": 0.05}}},
    "optimizer.differential_lr": {"optimizer.differential_lr": True},
    "optimizer.layer_decay": {"optimizer.layer_decay": 0.9},
    "optimizer.no_decay_norm_bias": {"optimizer.no_decay_norm_bias": True},
}
# a value other than the default needs several GPUs or minutes of a compiler; both are read when the run is built.
# A teacher is a file: tests/models/test_teacher.py
SEEN_ELSEWHERE = {"use_synch_bn", "compile", "teacher"}


def keys_of(section: type, path: str = "") -> dict[str, Any]:
    """Return the annotation of every key of a section by its path; the named sections stand for their own keys."""
    hints = get_type_hints(section, include_extras=True)
    keys = [item.name for item in dataclasses.fields(section) if item.metadata.get("key", True)]
    return {path + key: hints[key] for key in keys}


def test_every_key_takes_effect_is_refused_or_may_change():
    keys = keys_of(Experiment)
    for name in ("optimizer", "trainer"):
        del keys[name]
    keys |= keys_of(OptimizerSection, "optimizer.") | keys_of(TrainerSection, "trainer.")
    keys |= keys_of(SchedulerSection, "lr_scheduler.")
    free = {path for path, annotation in keys.items() if may_change(annotation, path.partition(".")[0])}
    parts = [set(TAKES_EFFECT), set(REFUSED), free, SEEN_ELSEWHERE]
    assert set().union(*parts) == set(keys)
    assert sum(map(len, parts)) == len(keys)


@pytest.mark.slow
@pytest.mark.parametrize("path", TAKES_EFFECT)
def test_an_allowed_change_takes_effect(states, path):
    changes, effect = TAKES_EFFECT[path]
    try:
        trainer = continued(states(), changes)
        assert effect(trainer)
        trainer.train()
        assert trainer.epoch == trainer.options.epochs + 1
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("path", REFUSED)
def test_a_change_that_cannot_take_effect_is_refused_by_its_path(states, path):
    with pytest.raises(ConfigError) as caught:
        continued(states(), REFUSED[path])
    assert any(line.startswith(path) and "cannot change" in line for line in caught.value.problems)


def test_without_a_change_the_state_is_loaded_as_it_is(states):
    state = states()
    trainer = continued(state, {})
    again = trainer.state_dict()
    assert again["lr_scheduler"] == state["lr_scheduler"] and again["monitor"] == state["monitor"]
    assert again["optimizer"]["param_groups"] == state["optimizer"]["param_groups"]


@pytest.mark.parametrize(("name", "value"), [("weight_decay", 0.1), ("momentum", 0.5), ("nesterov", True)])
def test_optimizer_arguments_reach_the_groups_and_nothing_else_changes(states, name, value):
    state = states()
    trainer = continued(state, {f"optimizer.args.{name}": value})
    assert group(trainer)[name] == value and lr(trainer) == STAYED
    buffers = trainer.stepper.optimizer.state_dict()["state"]
    assert torch.equal(buffers[0]["momentum_buffer"], state["optimizer"]["state"][0]["momentum_buffer"])


@pytest.mark.slow
def test_an_argument_for_which_the_optimizer_kept_no_state_is_refused(states):
    adam = {"type": "AdamW", "args": {"lr": 0.01}}
    state = states(optimizer=adam)
    with pytest.raises(ConfigError, match=r"optimizer\.args\.amsgrad: cannot change: the saved state"):
        continued(state, {"optimizer.args.amsgrad": True})
    trainer = continued(state, {"optimizer.args.betas": [0.8, 0.9]})
    assert list(group(trainer)["betas"]) == [0.8, 0.9]
    trainer.train()


@pytest.mark.slow
def test_an_extended_run_has_the_rates_of_a_run_of_the_new_length(states):
    section = {"lr_scheduler": {"type": "OneCycle", "args": {}}}
    extended = continued(states(**section), {"trainer.epochs": 8})
    sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.05, momentum=0.9)
    long = build_schedule(SchedulerSection("OneCycle"), sgd, 8, STEPS)
    for _ in range(2 * STEPS):
        sgd.step()
        long.step_done()
    assert lr(extended) == long.lrs[0]
    assert group(extended)["momentum"] == sgd.param_groups[0]["momentum"]
    extended.train()
    assert lr(extended) < 0.001


def test_a_cycle_removed_gives_the_configs_momentum_back(states):
    state = states(lr_scheduler={"type": "OneCycle", "args": {}})
    trainer = continued(state, {"lr_scheduler": None})
    assert (lr(trainer), group(trainer)["momentum"]) == (0.05, 0.9)
    assert "max_lr" not in group(trainer)


@pytest.mark.slow
def test_a_scheduler_added_starts_where_it_would_be_by_now(states):
    trainer = continued(
        states(lr_scheduler=None), {"lr_scheduler": {"type": "StepLR", "args": {"step_size": 1}}}
    )
    assert lr(trainer) == approx(0.05 * 0.01)


@pytest.mark.slow
def test_a_plateau_keeps_its_reductions_when_the_start_rate_changes(states):
    plateau = {"type": "ReduceLROnPlateau", "args": {"patience": 0, "threshold": 1e6, "mode": "max"}}
    state = states(lr_scheduler=plateau)
    before = state["optimizer"]["param_groups"][0]["lr"]
    assert before < 0.05
    trainer = continued(state, {"optimizer.args.lr": 0.5})
    assert lr(trainer) == approx(10 * before)
    assert scheduler(trainer).best == state["lr_scheduler"]["scheduler"]["best"]
    other = continued(state, {"trainer.monitor": "max Pixel_Accuracy"})
    assert lr(other) == approx(before) and scheduler(other).best == -float("inf")


@pytest.mark.slow
def test_the_best_starts_again_only_where_figures_do_not_compare(states, caplog):
    with caplog.at_level(logging.INFO):
        assert continued(states(), {"optimizer.args.lr": 0.1}).monitor.best is not None
        assert "forgotten" not in caplog.text
        assert continued(states(), {"val_loader.args.num_images": 3}).monitor.best is None
        assert "The best validation so far is forgotten" in caplog.text
    assert continued(states(), {"loss": "DiceLoss"}).monitor.best is not None
    assert continued(states(trainer__monitor="min loss"), {"loss": "DiceLoss"}).monitor.best is None


def test_the_batches_of_an_epoch_cannot_change_within_it(states):
    state = states()
    state["step"] = 1
    for change in ({"train_loader.args.batch_size": 2}, {"trainer.accumulate_steps": 2}):
        with pytest.raises(
            ConfigError, match="cannot change within an epoch, and the checkpoint is 1 batches"
        ):
            continued(state, change)


@pytest.mark.slow
def test_the_weights_average_can_be_left_off(states):
    trainer = continued(states(trainer__ema_decay=0.9), {"trainer.ema_decay": None})
    assert trainer.stepper.ema is None and trainer.state_dict()["ema"] is None


def test_a_model_that_the_weights_do_not_fit_is_refused_by_its_path(states):
    with pytest.raises(ConfigError, match=r"arch\.args\.base_channels: cannot change: .*does not fit"):
        continued(states(), {"arch.args.base_channels": 4})
    broken = states()
    del broken["model"][next(iter(broken["model"]))]
    with pytest.raises(CheckpointError, match="does not fit"):
        continued(broken, {"optimizer.args.lr": 0.1})


def test_fewer_epochs_than_are_done_are_refused(states):
    with pytest.raises(ConfigError, match=r"trainer\.epochs: 1 is too few: the run has reached epoch 2"):
        continued(states(), {"trainer.epochs": 1})


def test_extend_allows_another_length_and_nothing_else(states):
    state = states()
    longer = experiment_of(changed_config({"trainer.epochs": 9}, state["config"]))
    refuse_changes(state, longer, extend=True)
    other = experiment_of(changed_config({"trainer.epochs": 9, "seed": 1}, state["config"]))
    with pytest.raises(ConfigError, match="seed: the run was started with"):
        refuse_changes(state, other, extend=True)


@pytest.mark.slow
def test_a_plateau_of_an_earlier_version_turns_to_the_direction_of_the_monitor(states):
    state = states(lr_scheduler={"type": "ReduceLROnPlateau", "args": {}})
    state["lr_scheduler"]["scheduler"].update(mode="min", best=0.1, num_bad_epochs=2)
    trainer = continued(state, {})
    assert trainer.stepper.schedule.mode == "max" and scheduler(trainer).num_bad_epochs == 0
