"""The picture of a run's learning rates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import ROOT
from train import read_experiment
from utils.config.sections import SchedulerSection
from utils.errors import ConfigError, StorageError
from utils.report.learning_rates import draw_rates, learning_rates, plot_run, rates_of_groups


def make_optimizer() -> torch.optim.Optimizer:
    weights = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    groups = [{"params": weights[:1]}, {"params": weights[1:], "lr": 0.01}]
    return rates_of_groups(torch.optim.SGD(groups, lr=0.1, momentum=0.9))


@pytest.mark.parametrize("name", ["Poly", "OneCycle", "ReduceLROnPlateau", "ExponentialLR", None])
def test_rates_of_a_whole_run(name):
    args = {"gamma": 0.5} if name == "ExponentialLR" else {}
    section = None if name is None else SchedulerSection(name, args)
    first, second = learning_rates(section, make_optimizer(), 3, 4)
    assert len(first) == len(second) == 12
    np.testing.assert_allclose(np.array(first) / 10, second)
    if name == "ExponentialLR":
        assert first == pytest.approx([0.1] * 4 + [0.05] * 4 + [0.025] * 4)


@pytest.mark.slow
def test_picture(tmp_path):
    rates = learning_rates(SchedulerSection("Poly"), make_optimizer(), 2, 10)
    draw_rates(rates, 2, tmp_path / "lr.png")
    colours = {tuple(p) for p in np.asarray(Image.open(tmp_path / "lr.png")).reshape(-1, 3).tolist()}
    assert {(0x1F, 0x77, 0xB4), (0xD6, 0x27, 0x28)} <= colours
    draw_rates([[0.1]], 1, tmp_path / "one.png")
    with pytest.raises(StorageError):
        draw_rates(rates, 2, tmp_path / "no" / "lr.png")


def test_a_run_too_long_to_be_tried_step_by_step_is_refused():
    experiment = read_experiment(ROOT / "config.json", ["trainer.epochs=1000000000"])
    with pytest.raises(ConfigError, match="--plot-lr: a run of 1000000000 epochs of 4 steps is too long"):
        plot_run(experiment, torch.nn.Linear(1, 1), range(4), "never.png")
