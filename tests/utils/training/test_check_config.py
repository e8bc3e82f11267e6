"""Checks of a config that need more than its own keys."""

from __future__ import annotations

import pytest

from base import BaseModel
from tests.experiments import problems_of
from tests.utils.training.test_continuation import CONFIG, changed_config


def problems(monitor: str, **args: str) -> list[str]:
    section = {"type": "ReduceLROnPlateau", "args": args}
    return problems_of(changed_config({"lr_scheduler": section, "trainer.monitor": monitor}))


@pytest.mark.parametrize(("monitor", "mode"), [("max Mean_IoU", "min"), ("min loss", "max")])
def test_a_plateau_contrary_to_the_monitor_is_refused(monitor, mode):
    (problem,) = problems(monitor, mode=mode)
    assert problem.startswith(f"lr_scheduler.args.mode: '{mode}' is contrary to trainer.monitor '{monitor}'")
    assert not problems(monitor) and not problems(monitor, mode=monitor[:3])


def test_a_plateau_without_a_monitor_is_refused():
    assert problems("off") == [
        "lr_scheduler.type: ReduceLROnPlateau waits for the figure of trainer.monitor, which is off"
    ]
    assert not problems_of(CONFIG)


def test_a_class_may_be_monitored_and_its_figure_must_exist():
    assert not problems_of(changed_config({"trainer.monitor": "max val_IoU/car"}))
    (problem,) = problems_of(changed_config({"trainer.monitor": "max val_Speed/car"}))
    assert problem.startswith("trainer.monitor: nothing called 'val_Speed/car' is logged")


class Bringing(BaseModel):
    """A model that makes no use of the config's loss."""

    brings_loss = True

    def _forward(self, images):
        return images


def test_a_loss_beside_that_of_the_model_is_refused():
    bringing = {"arch": {"type": f"{__name__}.Bringing"}}
    keys = {"loss": "DiceLoss", "class_weights": "median"}
    name = bringing["arch"]["type"]
    reason = (
        f"is not used: arch.type {name} brings its own training loss, set by arch.args; leave the key out"
    )
    assert problems_of(changed_config({**bringing, **keys})) == [
        f"loss: 'DiceLoss' {reason}",
        f"class_weights: 'median' {reason}",
    ]
    without = changed_config(bringing)
    del without["loss"]
    assert not problems_of(changed_config({"loss": None}, without))
    assert not problems_of(without) and not problems_of(changed_config(keys))


def test_averages_and_crops_that_contradict_each_other_are_refused():
    assert problems_of(changed_config({"trainer.ema_ramp": True, "trainer.swa_epochs": 5})) == [
        "trainer.ema_ramp: raises trainer.ema_decay, which is not set",
        "trainer.swa_epochs: 5 is more than trainer.epochs 4",
    ]
    both = problems_of(changed_config({"trainer.ema_decay": 0.9, "trainer.swa_epochs": 2}))
    assert len(both) == 1 and both[0].startswith("trainer.swa_epochs: a second average of the weights beside")
    crops = {"train_loader.args.crop_size": 16, "trainer.crop_schedule": [[0.5, 8], [0.7, [8, 16]]]}
    assert not problems_of(changed_config(crops))
    key = "trainer.crop_schedule"
    for schedule in ([], [[0.5, 8], [0.5, 9]], [[0, 8]], [[1, 8]]):
        (problem,) = problems_of(changed_config({**crops, key: schedule}))
        assert problem.startswith(f"{key}: the shares of the run") and "not rising numbers" in problem
    (problem,) = problems_of(changed_config({**crops, key: [[0.5, [16, 17]]]}))
    assert problem.startswith(f"{key}: a crop is larger than train_loader.args.crop_size 16")
    (problem,) = problems_of(changed_config({key: [[0.5, 8]]}))
    assert problem == f"{key}: leads up to train_loader.args.crop_size, which is not set"
    (problem,) = problems_of(changed_config({**crops, key: [[0.5, 0]]}))
    assert problem.startswith(f"{key}: expected a list")
