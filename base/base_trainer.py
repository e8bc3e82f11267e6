"""The part of a run that every trainer shares: when epochs run, on which machine, and what is saved."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from base.base_dataloader import BaseDataLoader
from base.base_model import BaseModel, SegmentationOutput
from utils.config.sections import TrainerSection
from utils.data.batch import DeviceBatch
from utils.data.prefetch import Prefetcher
from utils.errors import CheckpointError, ConfigError, Interrupted, NonFiniteError, first_line
from utils.losses import BaseLoss
from utils.run.folder import RunFolder
from utils.run.log import RunLog
from utils.system.precision import Precision
from utils.system.rng import capture_rng, restore_rng
from utils.system.stop_signal import StopSignal
from utils.training.activation_checkpointing import checkpoint_activations
from utils.training.figures import RunningFigures
from utils.training.monitor import Monitor, figure_names
from utils.training.phases import Phases, crop_sizes
from utils.training.process import any_image_size
from utils.training.saves import Saves
from utils.training.schedule import Schedule
from utils.training.stepper import Stepper

logger = logging.getLogger(__name__)


class BaseTrainer(ABC):
    """Runs epochs, validates, decides which epoch is best, saves, and resumes to the bit.

    It is given every part and builds none. A subclass defines one epoch of training and one of validation:
    :meth:`_train_epoch` and :meth:`_valid_epoch`.

    Args:
        model: the model, on the first of ``devices``.
        criterion: the loss of the config, on the same device.
        optimizer: optimizer of the model's trainable parameters.
        schedule: schedule of the optimizer's learning rates.
        train_loader: the training data.
        val_loader: the validation data; ``None`` with ``options.val`` off.
        options: the config's ``trainer`` section.
        run: the run folder.
        devices: devices to compute on; several GPUs make it DataParallel.
        precision: arithmetic of the forward passes.
        carried: entries of every checkpoint besides the state: ``arch``, ``config``, ``crop_size`` ...
        channels_last: memory layout of the images.
        compile_model: train through ``torch.compile``.
        show_progress: draw progress bars; ``None`` draws them on a terminal only.

    Attributes:
        model: the bare model, whose state is saved.
        forward: the model as training calls it: bare, DataParallel or compiled.
        training_loss: the loss of a step, by the model's choice; ``criterion`` is that of a validation.
        epoch: the current epoch, from 1.
        step: batches of this epoch that are done.
        stepper: takes optimizer steps; holds the averaged weights too.
        phases: what differs by epoch: frozen statistics, the average of the last weights.
        figures: losses and metrics of the current training epoch.

    Raises:
        ConfigError: no such figure to monitor, no validation data, or no blocks for activation checkpointing.
    """

    def __init__(
        self,
        *,
        model: BaseModel,
        criterion: BaseLoss,
        optimizer: Optimizer,
        schedule: Schedule,
        train_loader: BaseDataLoader,
        val_loader: BaseDataLoader | None,
        options: TrainerSection,
        run: RunFolder,
        devices: Sequence[torch.device],
        precision: Precision,
        carried: Mapping[str, Any] | None = None,
        channels_last: bool = True,
        compile_model: bool = False,
        show_progress: bool | None = None,
    ) -> None:
        if options.val and val_loader is None:
            raise ConfigError("val_loader: missing; give one, or val_split, or set trainer.val to false")
        self.model, self.criterion = model, criterion
        self.training_loss = model.build_criterion(criterion, options.aux_weight).to(devices[0])
        self.train_loader, self.val_loader = train_loader, val_loader if options.val else None
        self.options, self.run, self.precision = options, run, precision
        self.info, self.device, self._devices = train_loader.info, devices[0], list(devices)
        self.phases = Phases(model, options)
        if options.crop_schedule:
            train_loader.schedule_crops(crop_sizes(options))
        self.forward = self._training_model(compile_model)
        self.stepper = Stepper(
            model, optimizer, schedule, precision,
            clip_grad_norm=options.clip_grad_norm, ema_decay=options.ema_decay, ema_ramp=options.ema_ramp,
        )  # fmt: skip
        names = figure_names(validates=options.val, classes=self.info.classes)
        self.monitor = Monitor(options.monitor, names, options.early_stop)
        self.figures = RunningFigures(self.info.classes, self.device)
        self.log = RunLog(run, options)
        self.saves = Saves(run, model, options.save_period, options.keep_checkpoints)
        self.train_data = Prefetcher(train_loader, self.device, self.info, channels_last=channels_last)
        self.val_data = Prefetcher(self.val_loader or (), self.device, self.info, channels_last=channels_last)
        self.epoch, self.step, self._carried = 1, 0, dict(carried or {})
        self._last_figures: dict[str, Any] | None = None
        self.show_progress, self._stop, self._saved_at = show_progress, StopSignal(), time.monotonic()

    # ---- for subclasses to define ---------------------------------------------------------------

    @abstractmethod
    def _train_epoch(self, epoch: int) -> dict[str, Any]:
        """Train from :attr:`step` to the end of the epoch; return the figures to log."""

    @abstractmethod
    def _valid_epoch(self, epoch: int) -> dict[str, Any]:
        """Validate the model of :meth:`evaluated`; return the figures to log."""

    # ---- epochs ---------------------------------------------------------------------------------

    def train(self) -> None:
        """Run to the last epoch, or to the one at which early stopping ends the run.

        Raises:
            NonFiniteError: a loss, a gradient or a weight became NaN or infinite; no such state was saved.
            Interrupted: SIGINT, SIGTERM or SIGHUP; the state was saved first.
            StorageError: a checkpoint could not be written.
            CheckpointError: the run continues from a state that is not finite.
        """
        self.saves.accept(self.state_dict())
        self.log.open(self._carried.get("config", {}), self.epoch, self.stepper.steps)
        self._saved_at = time.monotonic()
        try:
            with self._stop:
                while self.epoch <= self.options.epochs and not self.monitor.exhausted:
                    self._run_epoch(self.epoch)
        except NonFiniteError as error:
            raise self.saves.explained(error) from error
        finally:
            self.log.close()
        self.monitor.log_result(self.run.best)

    def _run_epoch(self, epoch: int) -> None:
        start = time.perf_counter()
        train = self._train_epoch(epoch)
        self.saves.require_finite(self.state_dict())
        val = self._valid_epoch(epoch) if self._validates(epoch) else None
        lrs = self.stepper.schedule.lrs
        improved = self._judge(epoch, train, val)
        self.log.epoch(
            epoch, self.stepper.steps, train, val,
            lrs=lrs, improved=improved, seconds=time.perf_counter() - start,
        )  # fmt: skip
        self._last_figures = val or train
        self.epoch, self.step = epoch + 1, 0
        self.figures.reset()
        self.saves.write(self.state_dict(), finished=epoch, improved=improved)
        self._saved_at = time.monotonic()

    def _validates(self, epoch: int) -> bool:
        due = epoch == self.options.epochs or epoch % self.options.val_per_epochs == 0
        return due and self.val_loader is not None

    def _judge(self, epoch: int, train: Mapping[str, Any], val: Mapping[str, Any] | None) -> bool:
        """Hand the epoch's figures to the monitor and the schedule; return whether it is the best so far."""
        figures = {f"train_{name}": value for name, value in train.items()}
        figures |= {f"val_{name}": value for name, value in (val or {}).items()}
        decides = val is not None or self.val_loader is None
        improved = decides and self.monitor.update(figures, epoch)
        self.stepper.schedule.epoch_done(epoch, self.monitor.value(figures))
        return improved

    # ---- data -----------------------------------------------------------------------------------

    def train_groups(self, epoch: int) -> Iterator[list[DeviceBatch]]:
        """Yield the batches of each optimizer step from :attr:`step` on, normalised, on the device."""
        if self.step == len(self.train_loader):  # stopped after the last step, or during the validation
            return
        self.train_loader.set_epoch(epoch, self.step)
        batches = iter(self.train_data)
        while group := list(islice(batches, self.options.accumulate_steps)):
            yield group

    def val_batches(self) -> Iterator[DeviceBatch]:
        """Yield the validation batches, normalised, on the device.

        Raises:
            Interrupted: a signal came; the state at the end of training this epoch was saved.
        """
        with any_image_size():
            for batch in self.val_data:
                yield batch
                self._save_if_stopped()

    def step_done(self, batches: int) -> None:
        """Count the batches of an optimizer step; save when it is time or a signal asks for it.

        Raises:
            Interrupted: a signal came; the state was saved.
        """
        self.step += batches
        self._save_if_stopped()
        if 0 < 60 * self.options.save_minutes < time.monotonic() - self._saved_at:
            self.save()

    # ---- the machine ----------------------------------------------------------------------------

    def compute(self, model: nn.Module, images: Tensor) -> SegmentationOutput:
        """Run a model on (N, C, H, W) images in the precision of the run."""
        with self.precision.autocast():
            return model(images)  # type: ignore[no-any-return]

    def evaluated(self) -> nn.Module:
        """Return the model to validate, in eval mode: the averaged weights if the run keeps them."""
        ema = self.stepper.ema
        averaged = self.phases.averaged if ema is None else ema.module
        return self._parallel(self.model if averaged is None else averaged).eval()

    def _training_model(self, compile_model: bool) -> nn.Module:
        if self.options.activation_checkpointing:
            blocks = checkpoint_activations(self.model)
            logger.info("Activation checkpointing: %d blocks are computed again in the backward pass", blocks)
        model = self._parallel(self.model)
        return torch.compile(model) if compile_model else model  # type: ignore[return-value]

    def _parallel(self, model: nn.Module) -> nn.Module:
        return nn.DataParallel(model, self._devices) if len(self._devices) > 1 else model

    # ---- state ----------------------------------------------------------------------------------

    def save(self) -> None:
        """Write ``last.pth``; the file before it becomes ``previous.pth``.

        Raises:
            NonFiniteError: the state holds a NaN or an infinite value; the old file is intact.
            StorageError: it could not be written; the old file is intact.
        """
        self.saves.write(self.state_dict())
        self._saved_at = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the run depends on, in tensors and plain types."""
        return {
            **self._carried,
            "model": self.model.state_dict(),
            "dataset": self.info.to_plain(),
            "epoch": self.epoch,
            "step": self.step,
            "iters_per_epoch": len(self.train_loader),
            **self.stepper.state_dict(),
            **self.phases.state_dict(),
            "monitor": self.monitor.state_dict(),
            **self.figures.state_dict(),
            "metrics": self._last_figures,
            "rng": capture_rng(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the point at which :meth:`state_dict` was called.

        Raises:
            CheckpointError: the state is of another model, optimizer or data set.
        """
        if state["step"] and state["iters_per_epoch"] != len(self.train_loader):
            raise CheckpointError(
                f"the checkpoint was saved during an epoch of {state['iters_per_epoch']} batches; the epochs of "
                f"this run have {len(self.train_loader)}"
            )
        try:
            self.model.load_state_dict(state["model"])
            self.stepper.load_state_dict(state)
            self.phases.load_state_dict(state)
            self.monitor.load_state_dict(state["monitor"])
            self.figures.load_state_dict(state)
        except (KeyError, RuntimeError, ValueError) as error:
            reason = first_line(error)
            raise CheckpointError(f"the checkpoint does not fit this config: {reason}") from error
        self.epoch, self.step = state["epoch"], state["step"]
        self._last_figures = state["metrics"]
        restore_rng(state["rng"])

    def _save_if_stopped(self) -> None:
        if self._stop.received is not None:
            self.save()
            raise Interrupted(
                f"stopped in epoch {self.epoch}, nothing is lost; go on with: "
                f"python train.py --resume {self.run.path}",
                self._stop.received,
            )
