"""Estimate of a run before it starts: how long it takes, how much memory and how much of the disk."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch

from utils.config.sections import Experiment, TrainerSection
from utils.errors import StorageError
from utils.run.pace import duration, validations_left
from utils.system import memory
from utils.training.dry_run import (
    StepwiseTrainer,
    peak_memory,
    temporary_checkpoint,
    undone,
    validate,
)
from utils.training.figures import RunningFigures
from utils.training.phases import largest_crop_epoch
from utils.training.process import any_image_size
from utils.training.trial import cached_bytes, constant_rates, endless_groups

logger = logging.getLogger(__name__)

_WARM_UP = 2  # steps that are not measured: they build kernels, workers and the optimizer's state
_LEAST_STEPS, _MOST_STEPS, _SECONDS = 5, 50, 10.0  # measured steps, at least and at most; enough seconds
_VAL_BATCHES = 4

Clock = Callable[[], float]


class Estimate(NamedTuple):
    """What the rest of a run takes.

    Attributes:
        epochs: epochs left.
        steps: optimizer steps left.
        step_seconds: seconds of a step.
        cache_seconds: seconds by which the steps of the first epoch take longer in all, to fill a cache.
        validations: validations left.
        validation_seconds: seconds of a validation.
        save_seconds: seconds of writing a checkpoint.
        checkpoint_bytes: size of a checkpoint.
        memory: peak of the memory, in words.
    """

    epochs: int
    steps: int
    step_seconds: float
    cache_seconds: float
    validations: int
    validation_seconds: float
    save_seconds: float
    checkpoint_bytes: int
    memory: str

    @property
    def seconds(self) -> float:
        """Duration of the rest of the run."""
        training = self.steps * self.step_seconds + self.cache_seconds
        return training + self.validations * self.validation_seconds + self.epochs * self.save_seconds


def estimate(
    trainer: StepwiseTrainer, *, caches: bool = False, clock: Clock = time.perf_counter
) -> Estimate | None:
    """Measure a few steps, validation batches and a checkpoint; undo all of it.

    Args:
        trainer: a trainer that is not running; afterwards its state is what it was, to the bit.
        caches: the training data keeps decoded images, so that later epochs are faster than the first.
        clock: seconds from any start.

    Returns:
        ``None`` where no step of the run is left.

    Raises:
        SegwrightError: any error that the run itself would meet.
    """
    options, length = trainer.options, len(trainer.train_loader)
    epochs = options.epochs - trainer.epoch + 1
    first = -(-(length - trainer.step) // options.accumulate_steps)
    steps = first + (epochs - 1) * -(-length // options.accumulate_steps)
    if epochs < 1 or steps < 1:
        return None
    validations = validations_left(options, trainer.epoch)
    with undone(trainer), constant_rates(trainer):
        fresh, seconds = _time_steps(trainer, clock, again=caches)
        validation = _time_validation(trainer, clock) if validations else 0.0
        start = clock()
        with temporary_checkpoint(trainer, "size") as path:
            saving, size = clock() - start, path.stat().st_size
        peak = peak_memory(trainer.device)  # a run does not load what it saves
    filling = first * (fresh - seconds)
    return Estimate(epochs, steps, seconds, filling, validations, validation, saving, size, peak)


def report_estimate(trainer: StepwiseTrainer, experiment: Experiment) -> None:
    """Estimate a run and log it; see :func:`estimate` and :func:`log_estimate`."""
    caches = experiment.train_loader.args.get("cache") == "ram"
    log_estimate(estimate(trainer, caches=caches), trainer, experiment)


def log_estimate(result: Estimate | None, trainer: StepwiseTrainer, experiment: Experiment) -> None:
    """Log an estimate: time, memory and disk, one line each.

    Args:
        result: of :func:`estimate`.
        trainer: the trainer that was measured.
        experiment: its config, with the ``save_dir`` of the run.

    Raises:
        StorageError: the checkpoints of the run do not fit on the disk.
    """
    options = experiment.trainer
    if result is None:
        logger.info("Nothing to estimate: no training step is left of %d epochs", options.epochs)
        return
    logger.info(
        "Time: %s%s for %s: %s of %.3g s, %s of %.3g s",
        "at most " if options.early_stop or options.crop_schedule else "", duration(result.seconds), _count(result.epochs, "epoch"),
        _count(result.steps, "step"), result.step_seconds,
        _count(result.validations, "validation"), result.validation_seconds,
    )  # fmt: skip
    cached, left = cached_bytes(trainer, experiment), memory.available()
    logger.info(
        "Memory: %s at the peak%s%s", result.memory,
        f", and {_size(cached)} of cached images" if cached else "",
        "" if left is None else f"; {_size(left)} more are available",
    )  # fmt: skip
    place = Path(options.save_dir).absolute()
    folder = next(path for path in (place, *place.parents) if path.is_dir())
    count, free = kept_checkpoints(options), shutil.disk_usage(folder).free
    words = f"{count} checkpoints of {_size(result.checkpoint_bytes)}; {_size(free)} are free"
    if result.checkpoint_bytes * count > free:
        raise StorageError(
            f"{options.save_dir}: the disk is too small for {words}; see trainer.keep_checkpoints"
        )
    logger.info("Disk: at most %s. Nothing was kept.", words)


def kept_checkpoints(options: TrainerSection) -> int:
    """Return the most checkpoints that a run folder holds: the last two, the best, and numbered ones."""
    numbered = options.epochs // options.save_period if options.save_period else 0
    if options.keep_checkpoints:
        numbered = min(numbered, options.keep_checkpoints)
    return 2 + (options.monitor != "off") + numbered


def _time_steps(trainer: StepwiseTrainer, clock: Clock, *, again: bool) -> tuple[float, float]:
    """Return the seconds of a step on images that are new, and on those that were read before.

    Args:
        trainer: trains from its position on.
        clock: seconds from any start.
        again: measure the second; else it is the first.
    """
    trainer.epoch = largest_crop_epoch(trainer.options, trainer.epoch)
    position, groups = (trainer.epoch, trainer.step), endless_groups(trainer)
    trainer.model.train()
    for _ in range(_WARM_UP):
        trainer.train_step(next(groups))
    start, count = clock(), 0
    while count < _LEAST_STEPS or (count < _MOST_STEPS and clock() - start < _SECONDS):
        trainer.train_step(next(groups))
        count += 1
    _wait_for(trainer.device)
    new = (clock() - start) / count
    if not again:
        return new, new
    trainer.epoch, trainer.step = position
    groups = endless_groups(trainer)
    trainer.train_step(next(groups))
    start = clock()
    for _ in range(_WARM_UP + count - 1):
        trainer.train_step(next(groups))
    _wait_for(trainer.device)
    return new, (clock() - start) / (_WARM_UP + count - 1)


def _time_validation(trainer: StepwiseTrainer, clock: Clock) -> float:
    """Return the seconds of a validation, by its first batches; validate the largest images for their memory."""
    assert trainer.val_loader is not None
    model, figures = trainer.evaluated(), RunningFigures(trainer.info.classes, trainer.device)
    with any_image_size():
        for _ in range(2):  # the second time is measured: kernels are built, a cache is filled
            start, count = clock(), 0
            for batch in islice(trainer.val_data, _VAL_BATCHES):
                trainer.validate_batch(model, batch, figures)
                count += 1
            _wait_for(trainer.device)
            seconds = clock() - start
    validate(trainer, trainer.val_loader.largest_batch())
    return len(trainer.val_loader) * seconds / count


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _size(count: float) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 / 10 else f"{count / 2**20:.1f} MiB"
