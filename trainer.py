"""What one epoch of training and one epoch of validation do."""

from __future__ import annotations

import logging
import time
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from base.base_model import SegmentationOutput
from base.base_trainer import BaseTrainer
from utils.evaluation.metrics import ConfusionMatrix
from utils.report.sheets import PredictionPanel
from utils.training.loss_meter import LossMeter

logger = logging.getLogger(__name__)

_SLOW_DATA = 0.3  # share of the time spent waiting for data that deserves a line


class Trainer(BaseTrainer):
    """Trains a model on ``loss(logits) + aux_weight * sum(loss(a) for a in aux)``; validates it."""

    def _train_epoch(self, epoch: int) -> dict[str, Any]:
        self.model.train()
        self._start_clock()
        title = f"Train {epoch}/{self.options.epochs}"
        with self.progress(title, len(self.train_loader), self.step) as bar:
            for group in self.train_groups(epoch):
                parts = [self.criterion.normalizer(batch.target) for batch in group]
                whole = torch.stack(parts).sum()
                for batch, part in zip(group, parts, strict=True):
                    output = self.compute(self.forward, batch.images)
                    losses = self._losses(output, batch.target, whole)
                    self.stepper.backward(losses["loss"], batch.image_ids)
                    self.losses.update(losses, whole, part)
                    self.confusion.update(output.logits, batch.target)
                self.stepper.step()
                self._show(bar, len(group))
                self.step_done(len(group))
        self._mention_slow_data()
        return self._figures(self.losses, self.confusion)

    @torch.inference_mode()
    def _valid_epoch(self, epoch: int) -> dict[str, Any]:
        model = self.evaluated()
        confusion = ConfusionMatrix(self.info.num_classes, self.device)
        meter = LossMeter(self.device)
        panel = PredictionPanel(self.info)
        with self.progress(f"Valid {epoch}/{self.options.epochs}", len(self.val_data.loader)) as bar:
            for batch in self.val_batches():
                logits = self.compute(model, batch.images).logits
                weight = self.criterion.normalizer(batch.target)
                meter.update({"loss": self.criterion(logits, batch.target, weight)}, weight, weight)
                prediction = logits.max(dim=1).indices
                confusion.update(prediction, batch.target)
                panel.add(batch, prediction)
                bar.update()
        self.log.picture("val/image_target_prediction", panel.draw(), self.stepper.steps)
        logger.info("Validation: %s", confusion.compute(self.info.classes).summary)
        return self._figures(meter, confusion)

    def _losses(self, output: SegmentationOutput, target: Tensor, whole: Tensor) -> dict[str, Tensor]:
        """This batch's share of the step's loss; with auxiliary heads also the two parts of it."""
        main = self.criterion(output.logits, target, whole)
        if not output.aux:
            return {"loss": main}
        aux = torch.stack([self.criterion(logits, target, whole) for logits in output.aux]).sum()
        return {"loss": main + self.options.aux_weight * aux, "loss_main": main, "loss_aux": aux}

    def _figures(self, meter: LossMeter, confusion: ConfusionMatrix) -> dict[str, Any]:
        return {**meter.compute(), **confusion.compute(self.info.classes).to_figures()}

    # ---- the progress bar ------------------------------------------------------------------------

    def _start_clock(self) -> None:
        self._started = time.perf_counter()
        self.train_data.reset_wait()

    def _wait_share(self) -> float:
        """Share of the epoch's time so far in which the model waited for data."""
        return self.train_data.wait_seconds / max(time.perf_counter() - self._started, 1e-9)

    def _show(self, bar: tqdm, batches: int) -> None:
        """Move the bar; ask the device for figures at an epoch's first step and every ``log_per_iter``."""
        bar.update(batches)
        due = self.stepper.steps % self.options.log_per_iter == 0
        if self.step and not due:
            return
        figures = self.losses.compute()
        figures["Mean_IoU"] = self.confusion.compute(self.info.classes).mean_iou
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
