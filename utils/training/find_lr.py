"""Range test of learning rates (Smith, "Cyclical Learning Rates for Training Neural Networks", 2017)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch.optim import Optimizer
from tqdm import tqdm

from utils.errors import ConfigError, NonFiniteError
from utils.system.precision import Precision
from utils.training.dry_run import StepwiseTrainer, undone
from utils.training.figures import RunningFigures
from utils.training.schedule import Schedule
from utils.training.stepper import Stepper
from utils.training.trial import endless_groups

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100
_EXPLODED = 4.0  # times the lowest smoothed loss so far
_REACH = 4  # steps on each side over which losses are averaged, twice: about a power of ten in all


class RangeTest(NamedTuple):
    """Losses of a range test.

    Attributes:
        rates: learning rate of each step, ascending.
        losses: training loss of each step, before its update.
    """

    rates: list[float]
    losses: list[float]

    @property
    def smoothed(self) -> list[float]:
        """Losses averaged over neighbouring steps, twice."""
        return smooth(smooth(self.losses))

    @property
    def suggestion(self) -> float | None:
        """Learning rate at which the smoothed loss falls fastest, before its minimum.

        Fastest by the power of ten of the learning rate. ``None`` where the loss does not fall.
        """
        smoothed = self.smoothed
        lowest = int(np.argmin(smoothed))
        if lowest <= _REACH:  # where few losses are averaged
            return None
        slopes = np.gradient(smoothed, np.log10(self.rates))
        return self.rates[_REACH + int(np.argmin(slopes[_REACH : lowest + 1]))]


class RangedTrainer(StepwiseTrainer, Protocol):
    """The parts of a :class:`~trainer.Trainer` that a range test uses."""

    stepper: Stepper

    @property
    def model(self) -> Any: ...
    @property
    def figures(self) -> RunningFigures: ...
    @property
    def precision(self) -> Precision: ...


class Ramp(Schedule):
    """Learning rates that rise by a constant factor from step to step.

    Args:
        optimizer: its groups keep the ratios between their learning rates.
        base_lr: the learning rate of the config, to which the ratios refer.
        lowest: learning rate of the first step.
        highest: learning rate of the last step.
        steps: number of steps, at least 2.
    """

    def __init__(
        self, optimizer: Optimizer, base_lr: float, lowest: float, highest: float, steps: int
    ) -> None:
        super().__init__(optimizer, None)
        self._lowest, self._growth = lowest, math.log(highest / lowest) / (steps - 1)
        self._ratios = [lr / base_lr if base_lr else 1.0 for lr in self.lrs]
        self._set()

    @property
    def rate(self) -> float:
        """The learning rate of the next step, as the config would name it."""
        return self._lowest * math.exp(self._growth * self.steps)

    def step_done(self) -> None:
        super().step_done()
        self._set()

    def _set(self) -> None:
        for group, ratio in zip(self.optimizer.param_groups, self._ratios, strict=True):
            group["lr"] = self.rate * ratio


def find_lr(
    trainer: RangedTrainer,
    make_optimizer: Callable[[], Optimizer],
    *,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    steps: int = STEPS,
) -> RangeTest:
    """Train with rising learning rates until the loss explodes; undo all of it.

    The steps are those of the run, with its data, loss, precision, accumulation and clipping. The test ends where
    the smoothed loss is four times its lowest value so far, or a loss or a gradient is not finite.

    Args:
        trainer: a trainer that is not running; afterwards its state is what it was, to the bit.
        make_optimizer: builds the optimizer of the config for the trainer's model.
        lowest: learning rate of the first step.
        highest: learning rate of the last step, if the loss has not exploded before.
        steps: number of steps.

    Raises:
        ConfigError: the optimizer takes no learning rate.
        NonFiniteError: the loss is not finite at the lowest learning rate already.
    """
    own = trainer.stepper
    with undone(trainer):
        optimizer = make_optimizer()
        if not isinstance(optimizer.defaults.get("lr"), (int, float)):
            raise ConfigError("optimizer.type: --find-lr needs an optimizer with a learning rate")
        ramp = Ramp(optimizer, float(optimizer.defaults["lr"]), lowest, highest, steps)
        clip = trainer.options.clip_grad_norm
        trainer.stepper = Stepper(trainer.model, optimizer, ramp, trainer.precision, clip_grad_norm=clip)
        try:
            return _climb(trainer, ramp, steps)
        finally:
            trainer.stepper = own


def smooth(losses: Sequence[float]) -> list[float]:
    """Return the mean of each loss and its neighbours on both sides, as many on one as on the other."""
    result = []
    for place in range(len(losses)):
        reach = min(_REACH, place, len(losses) - 1 - place)
        result.append(math.fsum(losses[place - reach : place + reach + 1]) / (2 * reach + 1))
    return result


def _climb(trainer: RangedTrainer, ramp: Ramp, steps: int) -> RangeTest:
    trainer.model.train()
    result = RangeTest([], [])
    trainer.step, groups = 0, endless_groups(trainer)
    with tqdm(total=steps, desc="Range test", unit="step", leave=False, disable=None) as bar:
        while ramp.steps < steps and not _exploded(result):
            rate, before = ramp.rate, ramp.steps
            trainer.figures.reset()
            try:
                trainer.train_step(next(groups))
            except NonFiniteError:
                if not result.losses:
                    raise
                break
            trainer.stepper.steps = 0  # what a model changes over a run stays as at its start
            loss = trainer.figures.losses()["loss"]
            if ramp.steps > before and math.isfinite(loss):  # else fp16 skipped it
                result.rates.append(rate)
                result.losses.append(loss)
                bar.update()
    return result


def _exploded(result: RangeTest) -> bool:
    """Return whether the last losses, smoothed like the others, are far above the lowest."""
    if len(result.losses) <= 2 * _REACH:
        return False
    latest = math.fsum(result.losses[-_REACH - 1 :]) / (_REACH + 1)
    return latest > _EXPLODED * min(result.smoothed)
