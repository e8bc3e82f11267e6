"""Learning-rate schedules: Poly and OneCycle of the template family, warm-up, and torch's schedulers by name."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Mapping, Sequence, Sized
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from utils.config.annotations import Fraction, NonNegativeInt, PositiveFloat
from utils.config.factory import Catalogue, build, find
from utils.config.sections import SchedulerSection

# a scheduler that takes one of these is stepped after every iteration
_PER_STEP = {"iters_per_epoch", "steps_per_epoch", "total_steps"}


class Poly(LRScheduler):
    """``lr * (1 - t / T) ** power``, after an optional linear warm-up that reaches ``lr`` smoothly.

    The polynomial decay of Liu, Rabinovich, Berg, "ParseNet", 2015. The first step after the warm-up
    uses ``lr`` itself and the last step of the run a rate above 0; past the end it stays at 0.

    Args:
        optimizer: its groups' learning rates are the ones decayed.
        num_epochs: length of the run in epochs.
        iters_per_epoch: optimizer steps in an epoch.
        warmup_epochs: epochs of warm-up; the decay takes place in those that remain.
        power: exponent.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        num_epochs: int,
        iters_per_epoch: int,
        warmup_epochs: NonNegativeInt = 0,
        power: PositiveFloat = 0.9,
    ) -> None:
        if warmup_epochs >= num_epochs:
            raise ValueError(f"warmup_epochs {warmup_epochs} leaves nothing of {num_epochs} epochs")
        self.warmup_steps = warmup_epochs * iters_per_epoch
        self.decay_steps = num_epochs * iters_per_epoch - self.warmup_steps
        self.power = power
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        step = self.last_epoch
        if step < self.warmup_steps:
            factor = (step + 1) / (self.warmup_steps + 1)
        else:
            remaining = 1 - (step - self.warmup_steps) / self.decay_steps
            factor = max(0.0, remaining) ** self.power
        return [base_lr * factor for base_lr in self.base_lrs]


class OneCycle(lr_scheduler.OneCycleLR):
    """The one-cycle policy of Smith, Topin, "Super-Convergence", 2018, peaking at the config's ``lr``.

    Args:
        optimizer: its groups' learning rates are the peaks.
        num_epochs: length of the run in epochs.
        iters_per_epoch: optimizer steps in an epoch.
        momentums: momentum at the peak and at both ends: (highest, lowest).
        div_factor: peak over first learning rate.
        final_div_factor: first over last learning rate.
        phase1: share of the steps in which the rate rises.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        num_epochs: int,
        iters_per_epoch: int,
        momentums: tuple[Fraction, Fraction] = (0.85, 0.95),
        div_factor: PositiveFloat = 25.0,
        final_div_factor: PositiveFloat = 1e4,
        phase1: Fraction = 0.3,
    ) -> None:
        cycles = any("momentum" in group or "betas" in group for group in optimizer.param_groups)
        super().__init__(
            optimizer,
            max_lr=[group["lr"] for group in optimizer.param_groups],
            total_steps=num_epochs * iters_per_epoch,
            pct_start=phase1,
            cycle_momentum=cycles,
            base_momentum=min(momentums),
            max_momentum=max(momentums),
            div_factor=div_factor,
            final_div_factor=final_div_factor,
        )


class Schedule:
    """A scheduler that is stepped when it is due: per optimizer step, per epoch, or on a validation's figure.

    Args:
        optimizer: the optimizer whose learning rates are set.
        scheduler: any scheduler; ``None`` keeps the rates (after the warm-up).
        per_step: step it after every optimizer step instead of every epoch.
        warmup_steps: optimizer steps of linear warm-up before the scheduler starts.
        warmup_epochs: the same in epochs.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        scheduler: LRScheduler | None,
        *,
        per_step: bool = False,
        warmup_steps: int = 0,
        warmup_epochs: int = 0,
    ) -> None:
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.per_step = per_step
        self.warmup_steps = warmup_steps
        self.warmup_epochs = warmup_epochs
        self._steps = 0
        self._start_lrs = [group["lr"] for group in optimizer.param_groups]
        self._warm()

    @property
    def lrs(self) -> list[float]:
        """The learning rate of each parameter group."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    @property
    def steps(self) -> int:
        """Optimizer steps so far that changed the weights."""
        return self._steps

    @property
    def follows_figure(self) -> bool:
        """True if the rates depend on the validations so far and not on the step alone."""
        return isinstance(self.scheduler, ReduceLROnPlateau)

    @property
    def mode(self) -> str | None:
        """The direction, ``min`` or ``max``, in which the figure improves that the rates depend on, if any."""
        return self.scheduler.mode if isinstance(self.scheduler, ReduceLROnPlateau) else None

    def place(self, epochs: int, steps: int) -> None:
        """Advance a new schedule to the point that a run has reached.

        Args:
            epochs: epochs that are done.
            steps: optimizer steps that are done, in all.
        """
        for _ in range(steps):
            self.step_done()
        for epoch in range(1, epochs + 1):
            self.epoch_done(epoch, None)

    def follow_on(self, old: Mapping[str, Any], lrs: Sequence[float], *, same_figure: bool = True) -> None:
        """Take over the reductions and the counts of the schedule before, if both follow a figure.

        Args:
            old: :meth:`state_dict` of the schedule before.
            lrs: its learning rates, one for each parameter group.
            same_figure: whether the best figure so far is still of use.
        """
        before = old["scheduler"] or {}
        if not isinstance(self.scheduler, ReduceLROnPlateau) or "num_bad_epochs" not in before:
            return
        if same_figure and before["mode"] == self.scheduler.mode:
            for name in ("best", "num_bad_epochs", "cooldown_counter", "last_epoch"):
                setattr(self.scheduler, name, before[name])
        if self._steps < self.warmup_steps:
            return
        groups = zip(self.optimizer.param_groups, lrs, old["start_lrs"], self.scheduler.min_lrs, strict=True)
        for group, lr, start_lr, lowest in groups:
            if start_lr:
                group["lr"] = max(group["lr"] * lr / start_lr, lowest)

    def step_done(self) -> None:
        """Take account of an optimizer step that changed the weights."""
        self._steps += 1
        if self._steps <= self.warmup_steps:
            self._warm()
        elif self.per_step and self.scheduler is not None:
            self._step(self.scheduler)

    def epoch_done(self, epoch: int, figure: float | None) -> None:
        """Take account of the end of an epoch.

        Args:
            epoch: the epoch that ended, from 1.
            figure: the monitored figure if the epoch was validated, for ``ReduceLROnPlateau``.
        """
        if self.scheduler is None or self.per_step or epoch <= self.warmup_epochs:
            return
        if isinstance(self.scheduler, ReduceLROnPlateau):
            if figure is not None and not math.isnan(figure):
                self.scheduler.step(figure)
        else:
            self._step(self.scheduler)

    def state_dict(self) -> dict[str, Any]:
        scheduler = None if self.scheduler is None else self.scheduler.state_dict()
        return {"steps": self._steps, "start_lrs": list(self._start_lrs), "scheduler": scheduler}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._steps, self._start_lrs = state["steps"], list(state["start_lrs"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])

    def _warm(self) -> None:
        """Set the rates below the start rates during the warm-up, exactly to them at its end."""
        if self.warmup_steps:
            factor = min(1.0, (self._steps + 1) / (self.warmup_steps + 1))
            for group, lr in zip(self.optimizer.param_groups, self._start_lrs, strict=True):
                group["lr"] = lr * factor

    @staticmethod
    def _step(scheduler: LRScheduler) -> None:
        with warnings.catch_warnings():
            # a run resumed between the last optimizer step of its first epoch and the scheduler's step
            # calls the scheduler before any optimizer step of this process
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            scheduler.step()


_OF_TORCH = {name: member for name, member in vars(lr_scheduler).items() if name in lr_scheduler.__all__}
_CONTEXT = frozenset({"optimizer", "num_epochs", "epochs"} | _PER_STEP)
_WORD = "learning-rate scheduler"
SCHEDULERS = Catalogue(
    SimpleNamespace(**_OF_TORCH, Poly=Poly, OneCycle=OneCycle), LRScheduler, _WORD, _CONTEXT
)
OWN_SCHEDULERS = Catalogue(SimpleNamespace(Poly=Poly, OneCycle=OneCycle), LRScheduler, _WORD, _CONTEXT)


def steps_of_epoch(loader: Sized, accumulate_steps: int) -> int:
    """Return the number of optimizer steps in an epoch; the last may have fewer batches."""
    return -(-len(loader) // accumulate_steps)


def build_schedule(
    section: SchedulerSection | None,
    optimizer: Optimizer,
    epochs: int,
    steps_per_epoch: int,
    monitor: str = "off",
) -> Schedule:
    """Build the schedule that a config describes.

    Args:
        section: ``None`` keeps the learning rates constant.
        optimizer: the optimizer of the run.
        epochs: length of the run.
        steps_per_epoch: optimizer steps in each epoch.
        monitor: the config's ``trainer.monitor``, whose direction a scheduler that waits for a figure takes.

    Raises:
        ConfigError: unknown scheduler or argument, or one refused by its constructor.
    """
    if section is None:
        return Schedule(optimizer, None)
    cls = find(SCHEDULERS, section.type, "lr_scheduler.type")
    remaining = max(1, epochs - section.warmup_epochs)
    counts = {
        "num_epochs": remaining,
        "epochs": remaining,
        "iters_per_epoch": steps_per_epoch,
        "steps_per_epoch": steps_per_epoch,
        "total_steps": remaining * steps_per_epoch,
    }
    if issubclass(cls, ReduceLROnPlateau) and monitor != "off":
        section = replace(section, args={"mode": monitor.partition(" ")[0], **section.args})
    scheduler = build(SCHEDULERS, section, "lr_scheduler", optimizer=optimizer, **counts)
    counts_steps = bool(_PER_STEP & inspect.signature(cls).parameters.keys())
    made_for_steps = counts_steps or issubclass(cls, lr_scheduler.CyclicLR)
    return Schedule(
        optimizer,
        scheduler,
        per_step=made_for_steps if section.interval is None else section.interval == "step",
        warmup_steps=section.warmup_epochs * steps_per_epoch,
        warmup_epochs=section.warmup_epochs,
    )
