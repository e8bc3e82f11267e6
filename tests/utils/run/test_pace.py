"""The time left of a run, on a clock that the test sets."""

from __future__ import annotations

from typing import Any

import pytest

from utils.config.sections import TrainerSection
from utils.run.pace import Pace, duration, validations_left


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def make(epochs: int, clock: Clock, batches: int = 10, **options: Any) -> Pace:
    pace = Pace(TrainerSection(epochs, **options), clock)
    pace.epoch_begins(batches)
    return pace


def steps(pace: Pace, clock: Clock, count: int, seconds: float, batches: int = 1) -> None:
    for _ in range(count):
        clock.now += seconds
        pace.trained(batches)


def test_steps_and_validations_left_at_their_speed():
    clock = Clock()
    pace = make(10, clock, 8)
    assert pace.seconds_left(1, 0) is None and pace.left(1) == ""
    clock.now += 1000  # before the run starts
    pace.start()
    steps(pace, clock, 1, 50, batches=2)
    assert pace.seconds_left(1, 2) == 78 * 25  # a slow start is all that is known
    steps(pace, clock, 3, 6, batches=2)
    assert pace.seconds_left(1, 8) == 72 * 3  # and does not count afterwards
    clock.now += 20
    pace.validated()
    assert pace.seconds_left(2, 0) == 72 * 3 + 9 * 20
    pace.epoch_begins(8)
    clock.now += 2  # saving
    steps(pace, clock, 4, 4, batches=2)
    assert pace.seconds_left(2, 8) == pytest.approx(64 * (18 + 18) / 14 + 9 * 20)
    pace.epoch_begins(8)
    steps(pace, clock, 4, 4, batches=2)
    assert pace.seconds_left(3, 8) == pytest.approx(56 * (18 + 16) / 16 + 8 * 20)  # the first epoch is over
    assert pace.seconds_left(11, 0) == 0


def test_a_run_resumed_within_an_epoch_has_the_rest_of_it():
    clock = Clock()
    pace = make(4, clock, val=False)
    steps(pace, clock, 3, 5)
    assert pace.seconds_left(3, 8) == (2 + 10) * 5


@pytest.mark.parametrize("epochs", [1, 6, 7])
@pytest.mark.parametrize("period", [1, 3, 9])
def test_validations_left(epochs, period):
    for epoch in range(1, epochs + 2):
        due = [e for e in range(epoch, epochs + 1) if e == epochs or e % period == 0]
        assert validations_left(TrainerSection(epochs, val_per_epochs=period), epoch) == len(due)
    assert validations_left(TrainerSection(epochs, val=False), 1) == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (59, ""), (120, ", about 2 min left"), (5399, ", about 90 min left"),
        (7200, ", about 2 h left"), (9000, ", about 2.5 h left"), (3 * 86400, ", about 3 days left"),
    ],
)  # fmt: skip
def test_the_rest_of_a_run_in_words(seconds, words):
    for early_stop, expected in ((0, words), (5, words.replace("about", "at most about"))):
        clock = Clock()
        pace = make(2, clock, 1, early_stop=early_stop)
        steps(pace, clock, 1, seconds)
        assert pace.left(2) == expected


def test_a_short_duration_in_words():
    assert duration(0.2) == "about 1 s" and duration(59) == "about 59 s"
