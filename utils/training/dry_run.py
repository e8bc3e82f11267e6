"""Plays a run through once, small, before hours are spent on it: ``train.py --check``."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import torch

from utils.run.checkpoint import load_checkpoint

logger = logging.getLogger(__name__)


def rehearse(trainer: Any) -> None:
    """Read a batch, train on it without keeping the step, validate the largest image, save and load.

    Args:
        trainer: a :class:`~base.base_trainer.BaseTrainer`, not yet run.

    Raises:
        SegwrightError: whatever the run itself would have met.
    """
    batch = _timed("one training batch", lambda: _first_batch(trainer))
    _timed("one forward and backward pass", lambda: _forward_backward(trainer, batch))
    if trainer.val_loader is not None:
        _timed("the largest validation images", lambda: _validate_largest(trainer))
    _timed("a checkpoint saved and loaded", lambda: _save_and_load(trainer))
    steps, epochs = len(trainer.train_loader), trainer.options.epochs
    logger.info("Ready: %d epochs of %d batches. Nothing was trained or kept.", epochs, steps)


def _timed(what: str, work: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = work()
    logger.info("ok: %s (%.2f s)", what, time.perf_counter() - start)
    return result


def _first_batch(trainer: Any) -> Any:
    trainer.train_loader.set_epoch(1)
    return next(iter(trainer.train_data))


def _forward_backward(trainer: Any, batch: Any) -> None:
    trainer.model.train()
    weight = trainer.criterion.normalizer(batch.target)
    output = trainer.compute(trainer.forward, batch.images)
    trainer.criterion(output.logits, batch.target, weight).backward()
    trainer.stepper.optimizer.zero_grad(set_to_none=True)


@torch.inference_mode()
def _validate_largest(trainer: Any) -> None:
    loader = trainer.val_loader
    batch = loader.largest_batch()
    trainer.val_data.loader = [batch]
    for prepared in trainer.val_data:
        output = trainer.compute(trainer.evaluated(), prepared.images)
        weight = trainer.criterion.normalizer(prepared.target)
        trainer.criterion(output.logits, prepared.target, weight)
    trainer.val_data.loader = loader


def _save_and_load(trainer: Any) -> None:
    trainer.save()
    trainer.load_state_dict(load_checkpoint(trainer.run.last))
