"""Log of a run: one line on the console and one JSON record per epoch, and TensorBoard curves.

Every curve has the same horizontal axis, the optimizer step.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.config.sections import TrainerSection
from utils.errors import ConfigError
from utils.run.folder import RunFolder
from utils.run.pace import Pace

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

logger = logging.getLogger(__name__)

Figures = Mapping[str, Any]  # name -> number, or name of a class table -> {class: number}


class RunLog:
    """Reports one run.

    Args:
        run: the run folder.
        options: ``tensorboard`` writes event files; ``log_dir`` is their folder (``log_dir/NAME/TIME``, or the
            run folder if ``None``); ``epochs`` is shown in messages.

    Attributes:
        pace: speed of the run, for the time left in messages.
    """

    def __init__(self, run: RunFolder, options: TrainerSection) -> None:
        self.run = run
        self.epochs = options.epochs
        self.pace = Pace(options)
        self._event_folder: Path | None = None
        if options.tensorboard:
            parent, here = options.log_dir, run.path
            self._event_folder = here if parent is None else Path(parent) / here.parent.name / here.name
        self._events = EventLog(None)

    def open(self, config: Mapping[str, Any], epoch: int, step: int) -> None:
        """Start, or continue at an epoch and optimizer step; later entries of the log are dropped."""
        self.pace.start()
        self.run.truncate_metrics(epoch)
        if epoch > self.epochs:
            logger.info("nothing to do: %d of %d epochs are done", epoch - 1, self.epochs)
        self._events = EventLog(self._event_folder, first_step=step + 1 if step else 0)
        text = json.dumps(config, indent=2, ensure_ascii=False)
        self._events.text("config", "    " + text.replace("\n", "\n    "))

    def close(self) -> None:
        """Write what is buffered and close the event file."""
        self._events.close()

    def step(self, figures: Mapping[str, float], lrs: list[float], step: int) -> None:
        """Report the running figures of training."""
        self._events.scalars("train_step", figures, step)
        self._events.scalars("lr", {f"group_{i}": lr for i, lr in enumerate(lrs)}, step)

    def progress(self, epoch: int, step: int, batches: int, loss: float) -> None:
        """Report in the middle of a long epoch how far it is; ``step`` of its ``batches`` are done."""
        left = self.pace.left(epoch, step)
        logger.info("Epoch %d/%d%s, batch %d/%d, loss %.4f", epoch, self.epochs, left, step, batches, loss)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """Show an (H, W, 3) uint8 image."""
        self._events.image(name, image, step)

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
        """Report the end of an epoch.

        Args:
            epoch: its number, from 1.
            step: optimizer steps of the run so far.
            train: figures of its training.
            val: figures of its validation; ``None`` if it was not validated.
            lrs: learning rate of each parameter group at its end.
            improved: whether it is the best so far.
            seconds: its duration.
        """
        record = {"epoch": epoch, "step": step, "lr": lrs, "seconds": round(seconds, 3)}
        self.run.append_metrics(
            {**record, "improved": improved, "train": without_nan(train), "val": val and without_nan(val)}
        )
        parts = [f"Epoch {epoch}/{self.epochs}{self.pace.left(epoch + 1)}"]
        for name, figures in (("train", train), ("val", val)):
            if figures is not None:
                self._log_events(name, figures, step)
                parts.append(f"{name} loss {figures['loss']:.4f} mIoU {figures['Mean_IoU']:.4f}")
        self._events.flush()
        logger.info("%s (%.1f s)%s", ", ".join(parts), seconds, ", best so far" if improved else "")

    def _log_events(self, name: str, figures: Figures, step: int) -> None:
        shown = {key: value for key, value in figures.items() if not key.endswith("_F1")}  # they show Dice
        numbers = {k: v for k, v in shown.items() if isinstance(v, (int, float))}
        self._events.scalars(name, numbers, step)
        for table, values in shown.items():
            if isinstance(values, dict):
                known = {k: v for k, v in values.items() if v is not None}
                self._events.scalars(f"{name}_{table}", known, step)


def require_tensorboard(options: TrainerSection) -> None:
    """Check that the package of the event files is installed, before a run folder is made.

    Raises:
        ConfigError: event files are to be written without it.
    """
    if options.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ConfigError(
            "trainer.tensorboard: the package tensorboard is not installed: pip install tensorboard, or set "
            "this to false"
        )


class EventLog:
    """TensorBoard event file of scalars, images and texts; without a folder it writes nothing.

    Args:
        folder: folder of the event files; ``None`` writes none.
        first_step: entries at this step and later are dropped: a resumed run writes them again.
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
                if not math.isnan(value):
                    self._writer.add_scalar(f"{group}/{name}", value, step)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """Log an (H, W, 3) uint8 image."""
        if self._writer is not None:
            self._writer.add_image(name, image, step, dataformats="HWC")

    def text(self, name: str, text: str, step: int = 0) -> None:
        """Log a text, which TensorBoard shows as Markdown."""
        if self._writer is not None:
            self._writer.add_text(name, text, step)

    def flush(self) -> None:
        """Write what is buffered."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Write what is buffered and close the file."""
        if self._writer is not None:
            self._writer.close()


def without_nan(figures: Figures) -> dict[str, Any]:
    """Return the figures with None for NaN, which JSON cannot express."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in figures.items()}
