"""TensorBoard event files of a run: every curve over one axis, the optimizer step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


import json
import logging
import math
from typing import Any

from utils.run.folder import RunFolder


class EventLog:
    """Writes scalars, pictures and texts; does nothing without a folder.

    Args:
        folder: where event files go; ``None`` writes none.
        first_step: what was logged at this step and later, by a run that is now resumed, is dropped.
    """

    def __init__(self, folder: Path | None, first_step: int = 0) -> None:
        self._writer: SummaryWriter | None = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter  # a quarter of a second

            self._writer = SummaryWriter(str(folder), purge_step=first_step or None)

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Log ``group/name`` for each value; NaN is left out."""
        if self._writer is not None:
            for name, value in values.items():
                if value == value:
                    self._writer.add_scalar(f"{group}/{name}", value, step)

    def image(self, name: str, picture: np.ndarray, step: int) -> None:
        """Log an (H, W, 3) uint8 picture."""
        if self._writer is not None:
            self._writer.add_image(name, picture, step, dataformats="HWC")

    def text(self, name: str, text: str, step: int = 0) -> None:
        if self._writer is not None:
            self._writer.add_text(name, text, step)

    def flush(self) -> None:
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


logger = logging.getLogger(__name__)

Figures = dict[str, Any]  # name -> number, or class table name -> {class: number}


class RunLog:
    """Reports one run.

    Args:
        run: the run's folder.
        tensorboard: write event files.
        log_dir: where they go (``log_dir/NAME/TIME``); ``None`` puts them into the run folder.
        epochs: length of the run, for the messages.
    """

    def __init__(self, run: RunFolder, *, tensorboard: bool, log_dir: str | None, epochs: int) -> None:
        self.run = run
        self.epochs = epochs
        self._events = EventLog(None)
        self._event_folder: Path | None = None
        if tensorboard:
            here = run.path
            self._event_folder = here if log_dir is None else Path(log_dir) / here.parent.name / here.name

    def open(self, config: Mapping[str, Any], epoch: int, step: int) -> None:
        """Start, or continue at an epoch and optimizer step: what was logged after them is dropped."""
        self.run.truncate_metrics(epoch)
        self._events = EventLog(self._event_folder, first_step=step + 1 if step else 0)
        text = json.dumps(config, indent=2, ensure_ascii=False)
        self._events.text("config", "    " + text.replace("\n", "\n    "))

    def close(self) -> None:
        self._events.close()

    def step(self, figures: Mapping[str, float], lrs: list[float], step: int) -> None:
        """Report the running figures of training."""
        self._events.scalars("train_step", figures, step)
        self._events.scalars("lr", {f"group_{i}": lr for i, lr in enumerate(lrs)}, step)

    def picture(self, name: str, picture: np.ndarray, step: int) -> None:
        """Show an (H, W, 3) uint8 picture."""
        self._events.image(name, picture, step)

    def epoch(
        self,
        epoch: int,
        step: int,
        train: Figures,
        val: Figures | None,
        *,
        lrs: list[float],
        improved: bool,
        seconds: float,
    ) -> None:
        """Report an epoch that ended."""
        record = {"epoch": epoch, "step": step, "lr": lrs, "seconds": round(seconds, 3)}
        self.run.append_metrics(
            {**record, "improved": improved, "train": plain(train), "val": val and plain(val)}
        )
        words = [f"Epoch {epoch}/{self.epochs}"]
        for name, figures in (("train", train), ("val", val)):
            if figures is not None:
                self._log_events(name, figures, step)
                words.append(f"{name} loss {figures['loss']:.4f} mIoU {figures['Mean_IoU']:.4f}")
        self._events.flush()
        logger.info("%s (%.1f s)%s", ", ".join(words), seconds, ", best so far" if improved else "")

    def _log_events(self, name: str, figures: Figures, step: int) -> None:
        numbers = {k: v for k, v in figures.items() if isinstance(v, (int, float))}
        self._events.scalars(name, numbers, step)
        for table, values in figures.items():
            if isinstance(values, dict):
                known = {k: v for k, v in values.items() if v is not None}
                self._events.scalars(f"{name}_{table}", known, step)


def plain(figures: Figures) -> Figures:
    """JSON has no NaN: a figure that does not exist is null."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in figures.items()}
