"""Dry run of a training, for ``train.py --check``: the steps of a run, in minutes, without a trace."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from utils.config.sections import TrainerSection
from utils.data.batch import Batch, DeviceBatch
from utils.data.prefetch import Prefetcher
from utils.dataset_info import DatasetInfo
from utils.run.checkpoint import load_checkpoint, save_checkpoint
from utils.run.folder import RunFolder
from utils.system import memory
from utils.training.figures import RunningFigures
from utils.training.phases import largest_crop_epoch
from utils.training.process import any_image_size
from utils.training.saves import Saves
from utils.training.stepper import Stepper

logger = logging.getLogger(__name__)

T = TypeVar("T")
_STEPS = 2  # the first step makes the optimizer's state, so the second one needs the most memory


class Loader(Protocol):
    """The parts of a :class:`~base.base_dataloader.BaseDataLoader` that a dry run uses."""

    @property
    def position(self) -> tuple[int, int]: ...
    def set_epoch(self, epoch: int, start_step: int = 0) -> None: ...
    def largest_batch(self) -> Batch: ...
    def __len__(self) -> int: ...


class StepwiseTrainer(Protocol):
    """The parts of a :class:`~trainer.Trainer` that a dry run uses."""

    epoch: int
    step: int

    @property
    def model(self) -> nn.Module: ...
    @property
    def info(self) -> DatasetInfo: ...
    @property
    def options(self) -> TrainerSection: ...
    @property
    def run(self) -> RunFolder: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def stepper(self) -> Stepper: ...
    @property
    def saves(self) -> Saves: ...
    @property
    def train_loader(self) -> Loader: ...
    @property
    def val_loader(self) -> Loader | None: ...
    @property
    def val_data(self) -> Prefetcher: ...
    def train_groups(self, epoch: int) -> Iterator[list[DeviceBatch]]: ...
    def train_step(self, group: Sequence[DeviceBatch]) -> None: ...
    def evaluated(self) -> nn.Module: ...
    def validate_batch(self, model: nn.Module, batch: DeviceBatch, figures: RunningFigures) -> Tensor: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def dry_run(trainer: StepwiseTrainer) -> None:
    """Take two training steps, validate the largest images, save and load a checkpoint; undo all of it.

    The steps are the trainer's own: a group of batches with auxiliary heads, accumulation, clipping, the
    optimizer, the schedule and the averaged weights. The log says how much memory they take.

    Args:
        trainer: a trainer that is not running; afterwards its state is what it was, to the bit.

    Raises:
        SegwrightError: any error that the run itself would meet.
    """
    steps = min(_STEPS, steps_left(trainer))
    if steps < 1:
        logger.info("Nothing to check: no training step is left of %d epochs", trainer.options.epochs)
        return
    with undone(trainer):
        _train(trainer, steps)
        if trainer.val_loader is not None:
            largest = trainer.val_loader.largest_batch
            _timed("the largest validation images", lambda: validate(trainer, largest()))
        _timed("a checkpoint saved and loaded", lambda: _save_and_load(trainer))
    epochs = trainer.options.epochs
    logger.info("Ready: %d epochs of %d batches. Nothing was kept.", epochs, len(trainer.train_loader))


@contextmanager
def undone(trainer: StepwiseTrainer) -> Iterator[None]:
    """Put the trainer back into its state when the block ends, also by an error.

    The state waits on disk, so that it takes none of the memory that the block measures.
    """
    loader, training = trainer.train_loader, trainer.model.training
    position = loader.position
    with temporary_checkpoint(trainer, "before") as path:
        try:
            yield
        finally:
            trainer.load_state_dict(load_checkpoint(path))
            trainer.model.train(training)
            loader.set_epoch(*position)


@contextmanager
def temporary_checkpoint(trainer: StepwiseTrainer, name: str) -> Iterator[Path]:
    """Write the state of the trainer beside its run, until the block ends."""
    path = trainer.run.path / f"check-{name}.pth"
    save_checkpoint(path, trainer.state_dict())
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _timed(what: str, work: Callable[[], T]) -> T:
    start = time.perf_counter()
    result = work()
    logger.info("ok: %s (%.2f s)", what, time.perf_counter() - start)
    return result


def steps_left(trainer: StepwiseTrainer) -> int:
    """Return the optimizer steps to the end of the run; a schedule may refuse to take more."""
    size = trainer.options.accumulate_steps
    epochs = trainer.options.epochs - trainer.epoch + 1
    return epochs * -(-len(trainer.train_loader) // size) - -(-trainer.step // size)


def _train(trainer: StepwiseTrainer, steps: int) -> None:
    trainer.step = 0
    epoch = largest_crop_epoch(trainer.options, trainer.epoch)
    groups = trainer.train_groups(epoch)  # kept, because a run too prepares batches ahead
    group = _timed("the batches of one step", lambda: next(groups))

    def take_steps() -> None:
        trainer.model.train()
        for _ in range(steps):
            trainer.train_step(group)
            trainer.saves.require_finite(trainer.state_dict())
        trainer.stepper.schedule.epoch_done(trainer.options.epochs, 0.0)

    _timed("training steps on them", take_steps)


def validate(trainer: StepwiseTrainer, batch: Batch) -> None:
    """Validate one batch, of images of any size."""
    figures = RunningFigures(trainer.info.classes, trainer.device)
    with any_image_size():
        trainer.validate_batch(trainer.evaluated(), trainer.val_data.prepare(batch), figures)
    figures.compute()


def _save_and_load(trainer: StepwiseTrainer) -> None:
    with temporary_checkpoint(trainer, "after") as path:
        logger.info("Peak memory: %s", peak_memory(trainer.device))  # a run does not load what it saves
        trainer.load_state_dict(load_checkpoint(path))


def peak_memory(device: torch.device) -> str:
    """Return the most memory taken so far: by torch on a GPU, else by the process."""
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_reserved(device) / 2**30:.2f} GiB on {device}"
    peak = memory.peak()
    return "not measured on this system" if peak is None else f"{peak / 2**30:.2f} GiB in the process"
