"""Learning rates against published values and torch's own schedulers."""

from __future__ import annotations

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR, PolynomialLR

from utils.config.factory import require
from utils.config.sections import SchedulerSection
from utils.errors import ConfigError
from utils.training.schedule import SCHEDULERS, build_schedule


def optimizer(lr: float = 0.01, **extra) -> torch.optim.SGD:
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    return torch.optim.SGD([{"params": weights[:1]}, {"params": weights[1:], "lr": lr / 10}], lr=lr, **extra)


def rates(
    section: SchedulerSection, epochs: int, steps: int, lr: float = 0.01, group: int = 0
) -> list[float]:
    sgd = optimizer(lr, momentum=0.9)
    schedule = build_schedule(section, sgd, epochs, steps)
    used = []
    for epoch in range(1, epochs + 1):
        for _ in range(steps):
            used.append(schedule.lrs[group])
            sgd.step()
            schedule.step_done()
        schedule.epoch_done(epoch, 0.5)
    return used


def test_poly_published_values():
    expected = [0.010000, 0.008868, 0.007719, 0.006551, 0.005359, 0.004136, 0.002872, 0.001539]
    assert rates(SchedulerSection("Poly"), 2, 4) == pytest.approx(expected, abs=1e-6)
    hundred = rates(SchedulerSection("Poly"), 10, 10)
    assert [hundred[t] for t in (1, 50, 99)] == pytest.approx(
        [0.0099099548, 0.0053588673, 0.00015848932], rel=1e-7
    )


def test_poly_equals_torch_and_keeps_the_ratio_of_groups():
    sgd = optimizer(momentum=0.9)
    theirs = PolynomialLR(sgd, total_iters=30, power=0.9)
    used = []
    for _ in range(30):
        used.append(theirs.get_last_lr()[0])
        sgd.step()
        theirs.step()
    assert rates(SchedulerSection("Poly"), 3, 10) == pytest.approx(used, rel=1e-6)
    assert rates(SchedulerSection("Poly"), 3, 10, group=1) == pytest.approx(
        [lr / 10 for lr in used], rel=1e-6
    )


def test_poly_warm_up_reaches_the_base_rate_without_a_jump():
    used = rates(SchedulerSection("Poly", {"warmup_epochs": 1}), 2, 4)
    assert used[:5] == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.01])
    assert used[4:] == sorted(used[4:], reverse=True)


def test_poly_past_the_end_is_zero_not_complex():
    sgd = optimizer(momentum=0.9)
    schedule = build_schedule(SchedulerSection("Poly"), sgd, 1, 2)
    for _ in range(5):
        sgd.step()
        schedule.step_done()
    assert schedule.lrs == [0.0, 0.0]


def test_one_cycle_peaks_at_the_configs_rate():
    used = rates(SchedulerSection("OneCycle"), 10, 10, lr=0.1)
    assert used[0] == pytest.approx(0.1 / 25)
    assert max(used) == pytest.approx(0.1)
    assert used.index(max(used)) == pytest.approx(0.3 * 100, abs=1)
    assert used[-1] == pytest.approx(0.1 / 25e4)
    assert max(rates(SchedulerSection("OneCycle"), 10, 10, lr=0.1, group=1)) == pytest.approx(0.01)


def test_one_cycle_momentum_and_an_optimizer_without_any():
    sgd = optimizer(momentum=0.9)
    build_schedule(SchedulerSection("OneCycle"), sgd, 2, 5)
    assert sgd.param_groups[0]["momentum"] == 0.95
    plain = torch.optim.Adagrad([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    build_schedule(SchedulerSection("OneCycle"), plain, 2, 5)


def test_torch_schedulers_by_name():
    assert rates(SchedulerSection("StepLR", {"step_size": 2}), 4, 3) == pytest.approx(
        [0.01] * 6 + [0.001] * 6
    )
    sgd = optimizer(momentum=0.9)
    theirs = OneCycleLR(sgd, max_lr=0.1, total_steps=12)
    expected = []
    for _ in range(12):
        expected.append(theirs.get_last_lr()[0])
        sgd.step()
        theirs.step()
    assert rates(SchedulerSection("OneCycleLR", {"max_lr": 0.1}), 4, 3) == pytest.approx(expected)
    per_step = SchedulerSection("CosineAnnealingLR", {"T_max": 12}, interval="step")
    assert len(set(rates(per_step, 4, 3))) == 12


def test_warm_up_before_any_scheduler():
    section = SchedulerSection("StepLR", {"step_size": 1}, warmup_epochs=1)
    used = rates(section, 3, 4)
    assert used == pytest.approx([0.002, 0.004, 0.006, 0.008] + [0.01] * 4 + [0.001] * 4)


def test_plateau_follows_the_monitored_figure():
    sgd = optimizer(momentum=0.9)
    section = SchedulerSection("ReduceLROnPlateau", {"mode": "max", "patience": 0})
    schedule = build_schedule(section, sgd, 9, 1)
    for epoch, figure in enumerate([0.5, None, 0.4], 1):
        schedule.epoch_done(epoch, figure)
    assert schedule.lrs[0] == pytest.approx(0.001)


@pytest.mark.parametrize(
    "section",
    [
        SchedulerSection("Poly", {"warmup_epochs": 1}),
        SchedulerSection("OneCycle"),
        SchedulerSection("StepLR", {"step_size": 1}, warmup_epochs=1),
        SchedulerSection("CosineAnnealingLR", {"T_max": 4}),
        SchedulerSection("ReduceLROnPlateau", {"patience": 0}),
        None,
    ],
)
def test_state_continues_exactly(section):
    def run(split: int | None) -> list[float]:
        sgd = optimizer(momentum=0.9)
        schedule = build_schedule(section, sgd, 4, 3)
        used = []
        for step in range(12):
            if step == split:
                state, weights = schedule.state_dict(), sgd.state_dict()
                sgd = optimizer(momentum=0.9)
                schedule = build_schedule(section, sgd, 4, 3)
                sgd.load_state_dict(weights)
                schedule.load_state_dict(state)
            used.append(schedule.lrs)
            sgd.step()
            schedule.step_done()
            if step % 3 == 2:
                schedule.epoch_done(step // 3 + 1, 1.0)
        return used

    assert all(run(split) == run(None) for split in (1, 3, 5, 6, 11))


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (SchedulerSection("Polly"), "lr_scheduler.type: no learning-rate scheduler called 'Polly'"),
        (SchedulerSection("Poly", {"warmup": 1}), "lr_scheduler.args.warmup"),
        (SchedulerSection("StepLR"), "lr_scheduler.args.step_size: missing"),
        (SchedulerSection("Poly", {"warmup_epochs": 9}), "leaves nothing of 2 epochs"),
    ],
)
def test_mistakes(section, words):
    with pytest.raises(ConfigError, match=words):
        require(SCHEDULERS, section, "lr_scheduler")
        build_schedule(section, optimizer(), 2, 2)


@pytest.mark.parametrize(("monitor", "mode"), [("max Mean_IoU", "max"), ("min loss", "min")])
def test_a_plateau_waits_in_the_direction_of_the_monitor(monitor, mode):
    section = SchedulerSection("ReduceLROnPlateau", {"patience": 0, "factor": 0.5})
    schedule = build_schedule(section, optimizer(), 5, 1, monitor)
    assert schedule.mode == mode
    rising = [schedule.lrs[0] for epoch in (1, 2, 3) if schedule.epoch_done(epoch, 0.1 * epoch) is None]
    assert rising == ([0.01, 0.01, 0.01] if mode == "max" else [0.01, 0.005, 0.0025])
