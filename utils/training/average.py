"""Averages of the weights of a run: exponential over its steps, or equal over its last epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class ExponentialAverage(AveragedModel):
    """Exponential moving average of weights and buffers, from the first step on.

    ``average = d * average + (1 - d) * weights`` after every step. The running statistics of batch norm are
    averaged like the weights, with which they belong together; whole numbers are rounded down.

    Args:
        model: the model that is trained.
        decay: the decay ``d``, 0 to below 1.
        ramp: let ``d`` rise as ``min(decay, (1 + t) / (10 + t))`` with the number ``t`` of averaged steps, so
            that the average of a short run does not lag behind: it spans about a tenth of the steps so far.
    """

    def __init__(self, model: nn.Module, decay: float, *, ramp: bool = False) -> None:
        super().__init__(model, use_buffers=True)
        self.decay, self.ramp = decay, ramp

    def decay_at(self, step: int) -> float:
        """Return the decay after ``step`` averaged steps."""
        return min(self.decay, (1 + step) / (10 + step)) if self.ramp else self.decay

    def update_parameters(self, model: nn.Module) -> None:
        """Take the weights of a step into the average; the first ones are copied."""
        decay = self.decay_at(int(self.n_averaged))
        self.multi_avg_fn = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        super().update_parameters(model)


class LastEpochsAverage:
    """Equal average of the weights at the ends of the last epochs of a run (SWA).

    Izmailov, Podoprikhin, Garipov, Vetrov, Wilson, "Averaging Weights Leads to Wider Optima and Better
    Generalization", 2018. Buffers are those of the newest model; its statistics of batch norm do not fit the
    averaged weights and are estimated again
    (:func:`utils.training.batch_norm.estimate_statistics`).

    Args:
        model: the model that is trained.
        first: the first epoch whose weights are averaged.

    Attributes:
        epoch: the last epoch in the average; 0 where it holds none.
    """

    def __init__(self, model: nn.Module, first: int) -> None:
        self.first, self.epoch = first, 0
        self._average = AveragedModel(model)

    @property
    def module(self) -> nn.Module | None:
        """The averaged model; ``None`` before the first of the last epochs has ended."""
        return self._average.module if self.epoch >= self.first else None

    def add(self, model: nn.Module, epoch: int) -> None:
        """Take in the weights at the end of an epoch, unless they are in it (a run resumed in its validation)."""
        if epoch < self.first or epoch == self.epoch:
            return
        if self.module is None:  # the average of a run that was extended starts again
            self._average.n_averaged.zero_()
        self._average.update_parameters(model)
        self.epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        """Return the average under the names of that of the steps, so that all readers find it."""
        module = self.module
        return {
            "ema": None if module is None else module.state_dict(),
            "ema_updates": 0 if module is None else int(self._average.n_averaged),
            "swa_epoch": 0 if module is None else self.epoch,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state, of a run without such an average too."""
        self.epoch = state.get("swa_epoch", 0) if state["ema"] else 0
        if self.epoch:
            self._average.module.load_state_dict(state["ema"])
            self._average.n_averaged.fill_(state["ema_updates"])
