"""Parts of what train.py tries before a run: batches without end, a constant learning rate, cached images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from utils.config.sections import Experiment
from utils.data.batch import DeviceBatch
from utils.training.dry_run import StepwiseTrainer
from utils.training.schedule import Schedule


def endless_groups(trainer: StepwiseTrainer) -> Iterator[list[DeviceBatch]]:
    """Yield the batches of each step from the trainer's position on, epoch after epoch."""
    while True:
        yield from trainer.train_groups(trainer.epoch)
        trainer.epoch, trainer.step = trainer.epoch + 1, 0


@contextmanager
def constant_rates(trainer: StepwiseTrainer) -> Iterator[None]:
    """Keep the learning rates inside the block: the schedule of the run may be shorter than a trial."""
    stepper = trainer.stepper
    own, stepper.schedule = stepper.schedule, Schedule(stepper.optimizer, None)
    try:
        yield
    finally:
        stepper.schedule = own


def cached_bytes(trainer: Any, experiment: Experiment) -> int:
    """Return the memory that ``"cache": "ram"`` will take, by the size of the first image."""
    train, val = experiment.train_loader, experiment.val_loader or experiment.train_loader
    total = 0
    for component, loader in ((train, trainer.train_loader), (val, trainer.val_loader)):
        if loader is not None and component.args.get("cache") == "ram":
            image, label, _ = loader.dataset.load_checked(0)
            total += len(loader.dataset) * (image.nbytes + label.nbytes)
    return total
