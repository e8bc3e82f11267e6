"""One optimizer step, with loss scaling on the CPU where no GPU is at hand."""

from __future__ import annotations

import math

import pytest
import torch

from tests.parts import TinyNet
from utils.config.sections import SchedulerSection
from utils.errors import NonFiniteError
from utils.system.precision import Precision
from utils.training.schedule import build_schedule
from utils.training.stepper import Stepper


def make(precision: str = "fp32", **options) -> Stepper:
    torch.manual_seed(0)
    model = TinyNet(3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = build_schedule(SchedulerSection("Poly"), optimizer, 1, 50)
    return Stepper(model, optimizer, schedule, Precision(precision, "cpu"), **options)


def loss_of(stepper: Stepper, factor: float = 1.0) -> torch.Tensor:
    return stepper.model(torch.ones(2, 3, 8, 8)).logits.square().mean() * factor


def parameters(stepper: Stepper) -> list[torch.Tensor]:
    return [p.detach().clone() for p in stepper.model.parameters()]


def unchanged(before: list[torch.Tensor], stepper: Stepper) -> bool:
    return all(torch.equal(a, b) for a, b in zip(before, stepper.model.parameters(), strict=True))


def test_a_step_changes_the_weights_and_advances_the_schedule():
    stepper = make()
    before, lr = parameters(stepper), stepper.schedule.lrs[0]
    stepper.backward(loss_of(stepper))
    stepper.step()
    assert not unchanged(before, stepper)
    assert stepper.schedule.lrs[0] < lr
    assert stepper.steps == 1
    assert all(p.grad is None for p in stepper.model.parameters())


def test_overflow_in_fp16_skips_the_step_scales_down_and_keeps_the_rate():
    stepper = make("fp16")
    assert stepper.scaler.get_scale() == 65536
    lr = stepper.schedule.lrs[0]
    for expected in (32768, 16384):
        before = parameters(stepper)
        stepper.backward(loss_of(stepper, factor=1e38))  # finite, but not after scaling
        stepper.step()
        assert unchanged(before, stepper)
        assert stepper.scaler.get_scale() == expected
        assert stepper.schedule.lrs[0] == lr
    before = parameters(stepper)
    stepper.backward(loss_of(stepper))
    stepper.step()
    assert not unchanged(before, stepper)
    assert stepper.schedule.lrs[0] < lr


def test_fp16_that_never_recovers_is_an_error():
    stepper = make("fp16")
    before = parameters(stepper)
    with pytest.raises(NonFiniteError):
        for _ in range(100):
            stepper.backward(loss_of(stepper, factor=math.nan))
            stepper.step()
    assert unchanged(before, stepper)
    assert stepper.steps == 19


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("clip_grad_norm", [None, 1.0])
@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_gradient_that_is_not_finite_stops_the_step(precision, clip_grad_norm, value):
    stepper = make(precision, clip_grad_norm=clip_grad_norm, ema_decay=0.5)
    before, average = parameters(stepper), [p.clone() for p in stepper.ema.module.parameters()]
    stepper.model.first.weight.register_hook(lambda grad: grad.index_fill(0, torch.tensor(1), value))
    loss = loss_of(stepper)
    assert loss.isfinite()
    stepper.backward(loss, ("photo",))
    with pytest.raises(
        NonFiniteError, match=r"gradient is not finite at step 0 .* as they were before"
    ) as caught:
        stepper.step()
    assert caught.value.exit_code == 3 and "photo" not in str(caught.value)  # it is the gradient of a step
    assert unchanged(before, stepper) and stepper.steps == 0
    assert all(map(torch.equal, average, stepper.ema.module.parameters()))


def test_finite_gradients_whose_norm_is_beyond_fp32_are_a_step():
    stepper = make()
    before = parameters(stepper)
    stepper.model.first.weight.register_hook(lambda grad: torch.full_like(grad, 1e30))
    stepper.backward(loss_of(stepper))
    stepper.step()
    assert stepper.steps == 1 and not unchanged(before, stepper)
    assert all(p.isfinite().all() for p in stepper.model.parameters())


def test_fp16_gradients_that_never_recover_are_an_error():
    stepper = make("fp16")
    before = parameters(stepper)
    stepper.model.last.weight.register_hook(lambda grad: grad * math.nan)  # of a finite loss
    with pytest.raises(NonFiniteError, match="gradient is not finite at step 20"):
        for _ in range(100):
            stepper.backward(loss_of(stepper))
            stepper.step()
    assert unchanged(before, stepper)


def test_weights_that_an_earlier_update_ruined_are_named_as_such():
    stepper = make()
    stepper.optimizer = torch.optim.Adam(stepper.model.parameters(), eps=0)
    stepper.backward(stepper.model.last.bias.sum() + 0 * loss_of(stepper))  # 0 / 0 in the other weights
    stepper.step()
    stepper.backward(loss_of(stepper))
    with pytest.raises(
        NonFiniteError, match="loss .* the weights have not been finite since an earlier step"
    ):
        stepper.step()


def test_clipping_sees_unscaled_gradients():
    clipped, free = make("fp16", clip_grad_norm=1e6), make("fp16")
    for stepper in (clipped, free):
        torch.manual_seed(1)  # the same dropout
        stepper.backward(loss_of(stepper))
        stepper.step()
    for a, b in zip(clipped.model.parameters(), free.model.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_clipping_bounds_the_norm():
    stepper = make(clip_grad_norm=1e-3)
    before = parameters(stepper)
    stepper.backward(loss_of(stepper, factor=1e3))
    stepper.step()
    moved = torch.cat([(a - b).flatten() for a, b in zip(before, stepper.model.parameters(), strict=True)])
    assert moved.detach().norm() == pytest.approx(0.1 * 1e-3, rel=1e-3)


def test_average_follows_the_formula():
    stepper = make(ema_decay=0.75)
    expected = None
    for _ in range(4):
        stepper.backward(loss_of(stepper))
        stepper.step()
        now = parameters(stepper)
        expected = now if expected is None else [
            0.75 * e + 0.25 * n for e, n in zip(expected, now, strict=True)
        ]  # fmt: skip
    for ours, theirs in zip(stepper.ema.module.parameters(), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_state_survives():
    first, second = make("fp16", ema_decay=0.9), make("fp16", ema_decay=0.9)
    for _ in range(3):
        first.backward(loss_of(first))
        first.step()
    second.model.load_state_dict(first.model.state_dict())
    second.load_state_dict(first.state_dict())
    for stepper in (first, second):
        stepper.backward(stepper.model.last.weight.sum())
        stepper.step()
    assert unchanged(parameters(first), second)
    assert first.scaler.state_dict() == second.scaler.state_dict()
    for a, b in zip(first.ema.parameters(), second.ema.parameters(), strict=True):
        assert torch.equal(a, b)


def test_loading_a_state_drops_a_step_that_was_not_finished():
    stepper = make()
    state = stepper.state_dict()
    stepper.backward(loss_of(stepper, factor=math.nan), ("bad",))
    stepper.load_state_dict(state)
    assert all(p.grad is None for p in stepper.model.parameters())
    stepper.backward(loss_of(stepper))
    stepper.step()  # the loss that was not finite is forgotten too
    assert stepper.steps == 1
