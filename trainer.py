"""One epoch of training and one epoch of validation: the step code of every run and of ``--check``."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from base.base_trainer import BaseTrainer
from utils.data.batch import DeviceBatch
from utils.report.sheets import PredictionPanel
from utils.training.figures import RunningFigures
from utils.training.teacher import Teacher

logger = logging.getLogger(__name__)

_SLOW_DATA = 0.3  # a larger share of the time spent waiting for data is logged
_SILENCE = 600.0  # seconds in a long epoch after which the log says how far it is


class _Stopped(Exception):
    """A signal ends a pass over the data that leaves no trace."""


class Trainer(BaseTrainer):
    """Trains a model on its training loss, ``loss(logits) + aux_weight * sum(loss(a) for a in aux)`` unless it
    brings another (:meth:`base.base_model.BaseModel.build_criterion`); validates ``loss(logits)``.

    Args:
        teacher: a trained network to learn from beside the labels; it takes no part in the validation.
        parts: those of :class:`base.base_trainer.BaseTrainer`.
    """

    def __init__(self, *, teacher: Teacher | None = None, **parts: Any) -> None:
        super().__init__(**parts)
        self.teacher = teacher
        if teacher is not None:
            self.training_loss = teacher.criterion(self.training_loss)
            self._carried |= teacher.facts

    def _train_epoch(self, epoch: int) -> dict[str, Any]:
        self.phases.start_epoch(epoch)
        self._start_clock()
        with self._progress(self._title(), len(self.train_loader), self.step) as bar:
            for group in self.train_groups(epoch):
                self.train_step(group)
                self._show(bar, len(group))
                self.step_done(len(group))
        self._mention_slow_data()
        self._end_training(epoch)
        return self.figures.compute()

    def _valid_epoch(self, epoch: int) -> dict[str, Any]:
        model = self.evaluated()
        figures = RunningFigures(self.info.classes, self.device)
        panel = PredictionPanel(self.info)
        with self._progress(f"Validation, {self._title()}", len(self.val_loader or ())) as bar:
            for batch in self.val_batches():
                panel.add(batch, self.validate_batch(model, batch, figures))
                bar.update()
        self.log.pace.validated()
        self.log.image("val/image_target_prediction", panel.draw(), self.stepper.steps)
        logger.info("Validation: %s", figures.metrics().summary)
        return figures.compute()

    # ---- the average of the last epochs ---------------------------------------------------------

    def _end_training(self, epoch: int) -> None:
        """Let the phases of the run end the training of an epoch.

        Raises:
            Interrupted: a signal came; the state was saved, and a resumed run does this again.
        """
        try:
            self.phases.end_epoch(epoch, self._images_of(epoch), self.compute)
        except _Stopped:
            self._save_if_stopped()

    def _images_of(self, epoch: int) -> Iterator[Tensor]:
        """Yield the images of all training batches of an epoch once more."""
        self.train_loader.set_epoch(epoch)
        for batch in self.train_data:
            if self._stop.received is not None:
                raise _Stopped
            yield batch.images

    # ---- one step -------------------------------------------------------------------------------

    def train_step(self, group: Sequence[DeviceBatch]) -> None:
        """Take one optimizer step over a group of batches and add their figures.

        Args:
            group: the batches whose gradients make the step; the model is in training mode.

        Raises:
            NonFiniteError: a loss or a gradient is not finite; the weights are unchanged.
        """
        self.model.set_progress(self._progress_of_run())
        targets = [batch.target if self.teacher is None else self.teacher.target(batch) for batch in group]
        parts = [self.training_loss.normalizer(target) for target in targets]
        normalizer = torch.stack(parts).sum(dim=0)
        for batch, target, part in zip(group, targets, parts, strict=True):
            taught = self._taught(batch)  # first, while no activations are kept
            output = self.compute(self.forward, batch.images)
            losses = self.training_loss(output._replace(extra=output.extra + taught), target, normalizer)
            self.stepper.backward(losses["loss"], batch.image_ids)
            self.figures.add_losses(losses, normalizer.ravel()[0], part.ravel()[0])
            self.figures.add_prediction(output.logits, batch.target)
        self.stepper.step()

    def _taught(self, batch: DeviceBatch) -> tuple[Tensor, ...]:
        """Return the logits of the teacher, if there is one."""
        if self.teacher is None:
            return ()
        with self.precision.autocast():
            return (self.teacher.logits(batch.images),)

    @torch.inference_mode()
    def validate_batch(self, model: nn.Module, batch: DeviceBatch, figures: RunningFigures) -> Tensor:
        """Predict one validation batch and add its figures.

        Args:
            model: the model of :meth:`evaluated`.
            batch: images and targets.
            figures: figures of the validation so far.

        Returns:
            (N, H, W) int64 class indices.
        """
        output = self.compute(model, batch.images)
        for logits, target in self._parts(output.logits, batch.target):
            normalizer = self.criterion.normalizer(target)
            loss = self.criterion(logits, target, normalizer)
            figures.add_losses({"loss": loss}, normalizer, normalizer)
        prediction = output.logits.max(dim=1).indices
        figures.add_prediction(prediction, batch.target)
        return prediction

    def _parts(self, logits: Tensor, target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batch, or each of its images where the loss of a batch is not made up of theirs."""
        if self.criterion.adds_up:
            yield logits, target
            return
        for i in range(len(target)):
            yield logits[i : i + 1], target[i : i + 1]

    def _progress_of_run(self) -> float:
        """Return the share of the run's optimizer steps that are done, 0 to 1."""
        steps = self.options.epochs * -(-len(self.train_loader) // self.options.accumulate_steps)
        return min(self.stepper.steps / steps, 1.0)

    # ---- the progress bar -----------------------------------------------------------------------

    def _progress(self, title: str, total: int, initial: int = 0) -> tqdm:
        """Return a bar of batches; it is drawn on a terminal only, unless ``show_progress`` was given."""
        return tqdm(
            total=total, initial=initial, desc=title, unit="batch", leave=False, dynamic_ncols=True,
            disable=None if self.show_progress is None else not self.show_progress,
        )  # fmt: skip

    def _title(self) -> str:
        return f"epoch {self.epoch}/{self.options.epochs}{self.log.pace.left(self.epoch, self.step)}"

    def _start_clock(self) -> None:
        self._started = self._reported = time.perf_counter()
        self.train_data.reset_wait()
        self.log.pace.epoch_begins(len(self.train_loader))

    def _wait_share(self) -> float:
        """Return the share of the epoch's time so far in which the model waited for data."""
        return self.train_data.wait_seconds / max(time.perf_counter() - self._started, 1e-9)

    def _show(self, bar: tqdm, batches: int) -> None:
        """Move the bar; ask the device for figures at an epoch's first step and every ``log_per_iter``."""
        self.log.pace.trained(batches)
        bar.set_description_str(self._title(), refresh=False)
        bar.update(batches)
        due = self.stepper.steps % self.options.log_per_iter == 0
        silent = time.perf_counter() - self._reported > _SILENCE
        if self.step and not due and not silent:
            return
        figures = self.figures.losses()
        if silent:
            self._reported = time.perf_counter()
            self.log.progress(self.epoch, self.step + batches, len(self.train_loader), figures["loss"])
        figures["Mean_IoU"] = self.figures.metrics().mean_iou
        lrs = self.stepper.schedule.lrs
        if due:
            self.log.step({**figures, "data_wait": self._wait_share()}, lrs, self.stepper.steps)
        bar.set_postfix_str(
            f"loss {figures['loss']:.4f}, mIoU {figures['Mean_IoU']:.3f}, lr {lrs[0]:.2e}, "
            f"data wait {self._wait_share():.0%}"
        )

    def _mention_slow_data(self) -> None:
        if self._wait_share() > _SLOW_DATA and self.epoch > 1:
            logger.info(
                "%.0f%% of this epoch went into waiting for data: raise train_loader.args.num_workers",
                100 * self._wait_share(),
            )
