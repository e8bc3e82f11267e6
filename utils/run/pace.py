"""Speed of a run, and the time that the rest of it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from utils.config.sections import TrainerSection


class _Measured(NamedTuple):
    """Batches and the seconds that they took."""

    batches: int = 0
    seconds: float = 0.0


class Pace:
    """Measures a run while it trains; all time between two calls counts, that of waiting and of saving too.

    The time left is that of the batches left, at the speed of this epoch and the one before it, and of the
    validations left, each as long as the last one; before the first one none is counted.

    Args:
        options: length of the run, its validations and ``early_stop``.
        clock: seconds from any start.
    """

    def __init__(self, options: TrainerSection, clock: Callable[[], float] = time.perf_counter) -> None:
        self._options, self._clock, self._last = options, clock, clock()
        self._before, self._now, self._calls = _Measured(), _Measured(), 0
        self._length, self._validation = 0, 0.0

    def start(self) -> None:
        """Measure from now on."""
        self._last = self._clock()

    def epoch_begins(self, batches: int) -> None:
        """Take account of the beginning of an epoch, or of the rest of one.

        Args:
            batches: number of batches of a full epoch.
        """
        self._length = batches
        if self._now.batches:
            self._before, self._now = self._now, _Measured()

    def trained(self, batches: int) -> None:
        """Take account of the batches of an optimizer step."""
        seconds = self._lap()
        self._calls += 1
        slow_start = self._calls == 2  # the first step builds kernels and workers: it serves until the next
        old = _Measured() if slow_start else self._now
        self._now = _Measured(old.batches + batches, old.seconds + seconds)

    def validated(self) -> None:
        """Take account of a validation that began when the training of its epoch ended."""
        self._validation = self._lap()

    def seconds_left(self, epoch: int, step: int) -> float | None:
        """Return the seconds to the end of the run; ``None`` before a step was measured.

        Args:
            epoch: the epoch that runs, from 1; its validation counts.
            step: its batches that are done.
        """
        batches = self._now.batches + self._before.batches
        if not batches:
            return None
        rate = (self._now.seconds + self._before.seconds) / batches
        left = (self._options.epochs - epoch + 1) * self._length - step
        return left * rate + validations_left(self._options, epoch) * self._validation

    def left(self, epoch: int, step: int = 0) -> str:
        """Return :meth:`seconds_left` in words, such as ``, about 2.5 h left``; empty below a minute."""
        seconds = self.seconds_left(epoch, step)
        if seconds is None or seconds < 60:
            return ""
        return f", {'at most ' if self._options.early_stop else ''}{duration(seconds)} left"

    def _lap(self) -> float:
        now = self._clock()
        seconds, self._last = now - self._last, now
        return seconds


def validations_left(options: TrainerSection, epoch: int) -> int:
    """Return the number of validations from the end of ``epoch`` to the end of the run."""
    epochs, period = options.epochs, options.val_per_epochs
    if not options.val or epoch > epochs:
        return 0
    return epochs // period - (epoch - 1) // period + (epochs % period != 0)


def duration(seconds: float) -> str:
    """Return a duration in words: ``about 40 s``, ``about 12 min``, ``about 2.5 h``, ``about 3 days``."""
    for unit, size, least in (("days", 86400, 2 * 86400), ("h", 3600, 5400), ("min", 60, 60)):
        if seconds >= least:
            digits = 0 if unit == "min" else 1
            return f"about {seconds / size:.{digits}f}".removesuffix(".0") + f" {unit}"
    return f"about {max(seconds, 1):.0f} s"
