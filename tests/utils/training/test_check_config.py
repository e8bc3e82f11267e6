"""Checks of a config that need more than its own keys."""

from __future__ import annotations

import pytest

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
