"""Optimizer step: backward, finite check, clipping, loss scaling, schedule and weight average."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from utils.errors import NonFiniteError
from utils.system.precision import Precision
from utils.training.average import ExponentialAverage
from utils.training.finite import all_finite, gradient_norm
from utils.training.schedule import Schedule

_MAX_SKIPPED = 20  # fp16 overflows while the loss scale settles, but not so often in a row


class _FiniteCheck(NamedTuple):
    """Flag on the host that says whether a scalar is finite; valid after ``arrived`` (None: at once)."""

    what: str
    finite: Tensor
    arrived: torch.cuda.Event | None
    image_ids: tuple[str, ...] = ()


class Stepper:
    """Updates weights from losses; a loss or a gradient that is not finite never reaches them.

    Args:
        model: the bare model.
        optimizer: optimizer of its trainable parameters.
        schedule: advanced by every step that changed the weights.
        precision: fp16 brings a gradient scaler.
        clip_grad_norm: largest norm of all gradients together; ``None`` does not clip.
        ema_decay: decay of the average of the weights, 0 to below 1; ``None`` keeps no average.
        ema_ramp: let the decay rise to ``ema_decay`` over the first steps.

    Attributes:
        ema: the averaged model, or None.
        steps: optimizer steps so far.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        schedule: Schedule,
        precision: Precision,
        *,
        clip_grad_norm: float | None = None,
        ema_decay: float | None = None,
        ema_ramp: bool = False,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.schedule = schedule
        self.scaler = precision.make_scaler()
        self.clip_grad_norm = clip_grad_norm
        self.ema: ExponentialAverage | None = None
        if ema_decay is not None:
            self.ema = ExponentialAverage(model, ema_decay, ramp=ema_ramp)
        self.steps = 0
        self._checks: list[_FiniteCheck] = []
        self._skipped = 0  # fp16 steps in a row
        self._scale = self.scaler.get_scale()

    def backward(self, loss: Tensor, image_ids: tuple[str, ...] = ()) -> None:
        """Add the gradients of one batch's share of the step's loss.

        Args:
            loss: the share, a scalar.
            image_ids: names of the batch, for the error if the loss is not finite.
        """
        self._checks.append(_start_check("loss", loss, image_ids))
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def step(self) -> None:
        """Update the weights with the gradients added so far.

        Raises:
            NonFiniteError: a loss or a gradient is not finite; the weights are unchanged.
        """
        if self.clip_grad_norm is not None:
            self.scaler.unscale_(self.optimizer)
            norm = nn.utils.clip_grad_norm_(self._parameters(), self.clip_grad_norm)
        elif not self.scaler.is_enabled():  # which looks for infinite gradients itself
            norm = gradient_norm(parameter.grad for parameter in self._parameters())
        if not self.scaler.is_enabled():
            self._checks.append(_start_check("gradient", norm))
        self._raise_if_not_finite()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        before, self._scale = self._scale, self.scaler.get_scale()  # waits for the device: once a step
        self._count(skipped=self._scale < before)

    def _count(self, *, skipped: bool) -> None:
        """Count a step; one that was skipped must not use up a learning rate.

        Raises:
            NonFiniteError: the last steps were all skipped.
        """
        self.steps += 1
        self._skipped = self._skipped + 1 if skipped else 0
        if self._skipped >= _MAX_SKIPPED:
            raise self._error("gradient", ())
        if not skipped:
            self.schedule.step_done()
            if self.ema is not None:
                self.ema.update_parameters(self.model)

    def state_dict(self) -> dict[str, Any]:
        return {
            "optimizer": self.optimizer.state_dict(),
            "lr_scheduler": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema": None if self.ema is None else self.ema.module.state_dict(),
            "ema_updates": 0 if self.ema is None else int(self.ema.n_averaged),
            "global_step": self.steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state; gradients of a step that was not finished are dropped."""
        self._checks.clear()
        self._skipped = 0
        self.optimizer.zero_grad(set_to_none=True)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["lr_scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        self._scale = self.scaler.get_scale()
        self.steps = state["global_step"]
        if self.ema is not None and state["ema"] is not None:
            self.ema.module.load_state_dict(state["ema"])
            self.ema.n_averaged.fill_(state["ema_updates"])

    def _raise_if_not_finite(self) -> None:
        checks, self._checks = self._checks, []
        if checks and checks[-1].arrived is not None:
            checks[-1].arrived.synchronize()  # the others arrived before it
        for check in checks:
            if check.finite.item():
                continue
            if self.scaler.is_enabled() and self._skipped + 1 < _MAX_SKIPPED:
                continue  # the scaler sees it in the gradients too, skips the step and scales down
            if check.what == "gradient" and self._only_the_norm_overflowed():
                continue
            raise self._error(check.what, check.image_ids)

    def _only_the_norm_overflowed(self) -> bool:
        """Return whether the gradients are finite, and not yet clipped by a norm beyond the range of fp32."""
        return self.clip_grad_norm is None and all_finite(p.grad for p in self._parameters())

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _error(self, what: str, image_ids: tuple[str, ...]) -> NonFiniteError:
        lrs = ", ".join(f"{lr:.3g}" for lr in self.schedule.lrs)
        batch = f" on {', '.join(image_ids)}" if image_ids else ""
        weights = "the weights are as they were before this step"
        if not all_finite(self.model.parameters()):
            weights = "the weights have not been finite since an earlier step"
        return NonFiniteError(
            f"the {what} is not finite at step {self.steps} (learning rate {lrs}){batch}; {weights}. Try a lower "
            "learning rate, trainer.clip_grad_norm, or precision fp32"
        )


def _start_check(what: str, value: Tensor, image_ids: tuple[str, ...] = ()) -> _FiniteCheck:
    """Start the copy of the answer to the host, which a GPU sends when it gets there."""
    finite = torch.isfinite(value.detach())
    if not finite.is_cuda:
        return _FiniteCheck(what, finite, None, image_ids)
    host = torch.empty((), dtype=torch.bool, pin_memory=True)
    host.copy_(finite, non_blocking=True)
    return _FiniteCheck(what, host, torch.cuda.current_stream(finite.device).record_event(), image_ids)
