"""When things happen in a run, and the machine they happen on; what an epoch does is the subclass's."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from base.base_dataloader import BaseDataLoader
from base.base_model import BaseModel, SegmentationOutput
from utils.config.sections import TrainerSection
from utils.data.batch import DeviceBatch
from utils.data.prefetch import Prefetcher
from utils.errors import CheckpointError, ConfigError, Interrupted
from utils.evaluation.metrics import ConfusionMatrix
from utils.losses import BaseLoss
from utils.run.checkpoint import link_or_copy, save_checkpoint
from utils.run.folder import RunFolder
from utils.run.log import RunLog
from utils.system.precision import Precision
from utils.system.rng import capture_rng, restore_rng
from utils.system.stop_signal import StopSignal
from utils.training.activation_checkpointing import checkpoint_activations
from utils.training.loss_meter import LossMeter
from utils.training.monitor import Monitor, figure_names
from utils.training.process import any_image_size
from utils.training.schedule import Schedule
from utils.training.stepper import Stepper

logger = logging.getLogger(__name__)


class BaseTrainer(ABC):
    """Runs epochs, validates, decides what is best, saves, and resumes to the bit.

    It is given every part and builds none. A subclass says what one epoch of training and one of
    validation do: :meth:`_train_epoch` and :meth:`_valid_epoch`.

    Args:
        model: the model, on the first of ``devices``.
        criterion: the loss, on the same device.
        optimizer: over the model's trainable parameters.
        schedule: steps the learning rates.
        train_loader: the training data.
        val_loader: the validation data; ``None`` with ``options.val`` off.
        options: the config's ``trainer`` section.
        run: the folder of the run.
        devices: where to compute; several GPUs make it DataParallel.
        precision: arithmetic of the forward passes.
        carried: what checkpoints hold besides the state: ``arch``, ``config``, ``crop_size`` ...
        channels_last: memory layout of the images.
        compile_model: train through ``torch.compile``.
        show_progress: draw progress bars; ``None`` draws them on a terminal only.

    Attributes:
        model: the bare model, whose state is saved.
        forward: the model as training calls it: bare, DataParallel or compiled.
        epoch: the epoch being run, from 1.
        step: batches of this epoch that are done.
        stepper: one optimizer step; holds the averaged weights too.

    Raises:
        ConfigError: the monitored figure will not be logged, validation has no data, or the model has no
            blocks for activation checkpointing.
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
        if options.activation_checkpointing:
            blocks = checkpoint_activations(model)
            logger.info("Activation checkpointing: %d blocks are computed again in the backward pass", blocks)
        self.model = model
        self.criterion = criterion
        self.train_loader = train_loader
        self.val_loader = val_loader if options.val else None
        self.options = options
        self.run = run
        self.precision = precision
        self.info = train_loader.info
        self.device = devices[0]
        self._devices = list(devices)
        self.stepper = Stepper(
            model, optimizer, schedule, precision,
            clip_grad_norm=options.clip_grad_norm, ema_decay=options.ema_decay,
        )  # fmt: skip
        self.forward = self._parallel(model)
        if compile_model:
            self.forward = torch.compile(self.forward)  # type: ignore[assignment]
        names = figure_names(validates=options.val)
        self.monitor = Monitor(options.monitor, names, options.early_stop)
        self.confusion = ConfusionMatrix(self.info.num_classes, self.device)
        self.losses = LossMeter(self.device)
        self.log = RunLog(
            run, tensorboard=options.tensorboard, log_dir=options.log_dir, epochs=options.epochs
        )
        self.train_data = Prefetcher(train_loader, self.device, self.info, channels_last=channels_last)
        self.val_data = Prefetcher(self.val_loader or (), self.device, self.info, channels_last=channels_last)
        self.epoch, self.step = 1, 0
        self._carried = dict(carried or {})
        self._last_figures: dict[str, Any] | None = None
        self._hide_progress = None if show_progress is None else not show_progress
        self._stop = StopSignal()
        self._saved_at = time.monotonic()

    # ---- what a subclass says -------------------------------------------------------------------

    @abstractmethod
    def _train_epoch(self, epoch: int) -> dict[str, Any]:
        """Train from :attr:`step` to the end of the epoch; return the figures to log."""

    @abstractmethod
    def _valid_epoch(self, epoch: int) -> dict[str, Any]:
        """Validate :meth:`evaluated`; return the figures to log."""

    # ---- when -----------------------------------------------------------------------------------

    def train(self) -> None:
        """Run to the last epoch, or to where early stopping ends it.

        Raises:
            NonFiniteError: the loss became NaN or infinite; the last checkpoint is good.
            Interrupted: SIGINT or SIGTERM; the state was saved first.
            StorageError: a checkpoint could not be written.
        """
        self.log.open(self._carried.get("config", {}), self.epoch, self.stepper.steps)
        self._saved_at = time.monotonic()
        try:
            with self._stop:
                while self.epoch <= self.options.epochs and not self.monitor.exhausted:
                    self._run_epoch(self.epoch)
        finally:
            self.log.close()
        self._say_result()

    def _run_epoch(self, epoch: int) -> None:
        start = time.perf_counter()
        train = self._train_epoch(epoch)
        val = self._valid_epoch(epoch) if self._validates(epoch) else None
        figures = {f"train_{name}": value for name, value in train.items()}
        figures |= {f"val_{name}": value for name, value in (val or {}).items()}
        decides = val is not None or self.val_loader is None
        improved = decides and self.monitor.update(figures, epoch)
        lrs = self.stepper.schedule.lrs
        self.stepper.schedule.epoch_done(epoch, figures.get(self.monitor.name or ""))
        self.log.epoch(
            epoch, self.stepper.steps, train, val,
            lrs=lrs, improved=improved, seconds=time.perf_counter() - start,
        )  # fmt: skip
        self._last_figures = val or train
        self.epoch, self.step = epoch + 1, 0
        self.confusion.reset()
        self.losses.reset()
        self._save_epoch(epoch, improved)

    def _validates(self, epoch: int) -> bool:
        due = epoch % self.options.val_per_epochs == 0 or epoch == self.options.epochs
        return self.val_loader is not None and due

    # ---- data -----------------------------------------------------------------------------------

    def train_groups(self, epoch: int) -> Iterator[list[DeviceBatch]]:
        """The batches of each optimizer step from :attr:`step` on, normalised, on the device."""
        remaining = len(self.train_loader) - self.step
        if not remaining:  # stopped after the last step, before or in the validation
            return
        self.train_loader.set_epoch(epoch, self.step)
        group: list[DeviceBatch] = []
        for batch in self.train_data:
            remaining -= 1
            group.append(batch)
            if len(group) == self.options.accumulate_steps or not remaining:
                yield group
                group = []

    def val_batches(self) -> Iterator[DeviceBatch]:
        """The validation batches, normalised, on the device.

        Raises:
            Interrupted: a signal came; the state at the end of training this epoch was saved.
        """
        with any_image_size():
            for batch in self.val_data:
                yield batch
                self._save_if_stopped()

    def step_done(self, batches: int) -> None:
        """Count the batches of an optimizer step; save where time or a signal asks for it.

        Raises:
            Interrupted: a signal came; the state was saved.
        """
        self.step += batches
        self._save_if_stopped()
        minutes = self.options.save_minutes
        if minutes and time.monotonic() - self._saved_at > 60 * minutes:
            self.save()

    # ---- the machine ----------------------------------------------------------------------------

    def compute(self, model: nn.Module, images: Tensor) -> SegmentationOutput:
        """Run a model in the precision of the run."""
        with self.precision.autocast():
            return model(images)

    def evaluated(self) -> nn.Module:
        """What is validated, in eval mode: the averaged weights where the run keeps them."""
        ema = self.stepper.ema
        return self._parallel(self.model if ema is None else ema.module).eval()

    def progress(self, title: str, total: int, initial: int = 0) -> tqdm:
        """A progress bar; on a terminal only, unless the trainer was told otherwise."""
        return tqdm(
            total=total, initial=initial, desc=title, unit="batch",
            leave=False, dynamic_ncols=True, disable=self._hide_progress,
        )  # fmt: skip

    def _parallel(self, model: nn.Module) -> nn.Module:
        return nn.DataParallel(model, self._devices) if len(self._devices) > 1 else model

    # ---- state ----------------------------------------------------------------------------------

    def save(self) -> None:
        """Write ``last.pth``; the one before stays as ``previous.pth``.

        Raises:
            StorageError: it could not be written; what was there is intact.
        """
        save_checkpoint(self.run.last, self.state_dict(), backup=self.run.previous)
        self._saved_at = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on, in tensors and plain types."""
        return {
            **self._carried,
            "model": self.model.state_dict(),
            "dataset": self.info.to_plain(),
            "epoch": self.epoch,
            "step": self.step,
            "iters_per_epoch": len(self.train_loader),
            **self.stepper.state_dict(),
            "monitor": self.monitor.state_dict(),
            "confusion": self.confusion.state_dict(),
            "losses": self.losses.state_dict(),
            "metrics": self._last_figures,
            "rng": capture_rng(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken.

        Raises:
            CheckpointError: it is of another model, optimizer or data set.
        """
        if state["step"] and state["iters_per_epoch"] != len(self.train_loader):
            raise CheckpointError(
                f"the checkpoint stands in the middle of an epoch of {state['iters_per_epoch']} batches; "
                f"the epochs of this run have {len(self.train_loader)}"
            )
        try:
            self.model.load_state_dict(state["model"])
            self.stepper.load_state_dict(state)
            self.monitor.load_state_dict(state["monitor"])
            self.confusion.load_state_dict(state["confusion"])
            self.losses.load_state_dict(state["losses"])
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(f"the checkpoint does not fit this config: {reason}") from error
        self.epoch, self.step = state["epoch"], state["step"]
        self._last_figures = state["metrics"]
        restore_rng(state["rng"])

    def _save_epoch(self, epoch: int, improved: bool) -> None:
        self.save()
        if improved:
            link_or_copy(self.run.last, self.run.best)
        period, keep = self.options.save_period, self.options.keep_checkpoints
        if period and epoch % period == 0:
            link_or_copy(self.run.last, self.run.numbered(epoch))
            for old in self.run.all_numbered()[:-keep] if keep else []:
                old.unlink(missing_ok=True)

    def _save_if_stopped(self) -> None:
        if self._stop.received is not None:
            self.save()
            raise Interrupted(
                f"stopped in epoch {self.epoch}, nothing is lost; go on with: "
                f"python train.py --resume {self.run.path}",
                self._stop.received,
            )

    # ---- words ----------------------------------------------------------------------------------

    def _say_result(self) -> None:
        if self.monitor.exhausted:
            logger.info("Stopped early: %d validations without improvement", self.monitor.not_improved)
        if self.monitor.best is not None:
            name, epoch = self.monitor.name, self.monitor.best_epoch
            logger.info("Best %s: %.4f (epoch %s): %s", name, self.monitor.best, epoch, self.run.best)
