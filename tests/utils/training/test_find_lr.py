"""The range test on a parabola, whose best learning rate is known in closed form, and on a network."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.parts import TinyNet, make_trainer
from tests.utils.training.test_dry_run import Batches, equal, everything
from trainer import Trainer
from utils.errors import ConfigError, NonFiniteError
from utils.training.find_lr import HIGHEST, LOWEST, STEPS, Ramp, RangeTest, find_lr, smooth

GROWTH = (HIGHEST / LOWEST) ** (1 / (STEPS - 1))


class Parabola(Trainer):
    """The loss ``1 + curvature / 2 * x ** 2`` of the first bias."""

    curvature = 1.0

    def train_step(self, group):
        x = self.model.first.bias[0]
        loss, one = 1 + self.curvature / 2 * x * x, torch.tensor(1)
        self.stepper.backward(loss)
        self.figures.add_losses({"loss": loss}, one, one)
        self.stepper.step()


def parabola(folder, curvature: float) -> Parabola:
    trainer = make_trainer(folder, cls=Parabola, train_loader=Batches(7))
    trainer.curvature = curvature
    with torch.no_grad():
        trainer.model.first.bias[0] = math.sqrt(8 / curvature)  # a loss of 5
    return trainer


def sgd(trainer: Trainer, lr: float = 0.3) -> torch.optim.Optimizer:
    return torch.optim.SGD(trainer.model.parameters(), lr=lr)


@pytest.mark.parametrize("curvature", [1.0, 30.0])
def test_the_suggestion_is_where_the_loss_of_a_parabola_falls_fastest(tmp_path, curvature):
    """A step multiplies x by 1 - lr * curvature; the logarithmic slope of x ** 2 has its minimum where the
    learning rates before it sum up to 1 / (2 * curvature)."""
    trainer = parabola(tmp_path / "run", curvature)
    result = find_lr(trainer, lambda: sgd(trainer))
    np.testing.assert_allclose(result.rates, LOWEST * GROWTH ** np.arange(len(result.rates)), rtol=1e-6)
    factors = np.cumprod(1 - curvature * np.array(result.rates))
    np.testing.assert_allclose(result.losses[1:], 1 + 4 * factors[:-1] ** 2, rtol=1e-3)
    best = (GROWTH - 1) / (2 * curvature)
    assert best / GROWTH**2 < result.suggestion < best * GROWTH**2  # within two steps
    assert 2 / curvature < result.rates[-1] < 1.001 * HIGHEST  # from 2 / curvature on it diverges
    assert curvature == 1 or len(result.rates) < STEPS  # and the test ends soon after


def test_nothing_changes_and_what_a_model_changes_over_a_run_stays_at_its_start(tmp_path):
    class Counting(TinyNet):
        shares: list[float] = []

        def set_progress(self, share):
            self.shares.append(share)

    options = {"accumulate_steps": 3, "clip_grad_norm": 1.0, "ema_decay": 0.9}
    trainer = make_trainer(tmp_path / "run", model=Counting(3), train_loader=Batches(7), **options)
    before, own = everything(trainer), trainer.stepper
    result = find_lr(trainer, lambda: sgd(trainer), steps=8)
    assert trainer.stepper is own and equal(before, everything(trainer))
    assert len(result.losses) == 8 and set(Counting.shares) == {0.0}  # 3 steps an epoch: it begins again


def test_the_groups_keep_their_ratios():
    weights = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    groups = [{"params": weights[:1]}, {"params": weights[1:], "lr": 0.01}]
    ramp = Ramp(torch.optim.SGD(groups, lr=0.1), 0.1, 1e-4, 1.0, 5)
    seen = []
    for _ in range(5):
        seen.append(ramp.lrs)
        ramp.step_done()
    np.testing.assert_allclose(seen, [[lr, lr / 10] for lr in (1e-4, 1e-3, 1e-2, 0.1, 1)])


def test_a_loss_that_is_not_finite_ends_the_test_or_refuses_it(tmp_path):
    trainer = parabola(tmp_path / "run", 1e30)
    before = everything(trainer)
    result = find_lr(trainer, lambda: sgd(trainer), lowest=1e-30, highest=1.0, steps=20)
    assert 2 < len(result.losses) < 20 and np.isfinite(result.losses).all()
    trainer.curvature = math.nan
    with pytest.raises(NonFiniteError, match="the loss is not finite at step 0"):
        find_lr(trainer, lambda: sgd(trainer))
    assert equal(before, everything(trainer))


def test_an_optimizer_without_a_learning_rate_is_refused(tmp_path):
    class Own(torch.optim.Optimizer):
        pass

    trainer = parabola(tmp_path / "run", 1.0)
    with pytest.raises(ConfigError, match="needs an optimizer with a learning rate"):
        find_lr(trainer, lambda: Own(trainer.model.parameters(), {}))


def test_a_loss_that_falls_nowhere_has_no_suggestion():
    rates = list(np.geomspace(1e-4, 1, 30))
    assert RangeTest(rates, list(np.linspace(1, 2, 30))).suggestion is None
    assert smooth([0, 3, 6, 0]) == [0, 3, 3, 0]
