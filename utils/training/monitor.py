"""The monitored figure: which validation is the best so far, and when to stop waiting for a better one."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.config.factory import did_you_mean
from utils.errors import ConfigError
from utils.evaluation.metrics import METRIC_NAMES

logger = logging.getLogger(__name__)

# names before the slash of a class's figure, and the logged table that holds it
_TABLES = {
    "IoU": "Class_IoU", "Accuracy": "Class_Accuracy", "Recall": "Class_Accuracy", "Precision": "Class_Precision",
    "F1": "Class_F1", "Dice": "Class_F1",
}  # fmt: skip


def figure_names(*, validates: bool, classes: Sequence[str] = ()) -> list[str]:
    """Return the names of the figures that a run logs after each epoch; those of a class: ``val_IoU/car``."""
    parts = ("train", "val") if validates else ("train",)
    of_classes = [f"{table}/{name}" for table in _TABLES for name in classes]
    return [f"{part}_{figure}" for part in parts for figure in ("loss", *METRIC_NAMES, *of_classes)]


def names_a_class(setting: str) -> str | None:
    """Return the class name in a monitor such as ``max val_IoU/car``, ``None`` where it names no class."""
    figure, slash, name = setting.partition(" ")[2].partition("/")
    known = figure.removeprefix("val_").removeprefix("train_") in _TABLES
    return name if slash and known and name else None


class Monitor:
    """One logged figure that decides which checkpoint is best.

    Args:
        setting: ``max NAME``, ``min NAME`` or ``off``.
        names: figures that the run will log; ``NAME`` must be one of them, or one without its
            ``val_`` or ``train_`` prefix (validation is then preferred).
        early_stop: validations without improvement before :attr:`exhausted`; 0 or None never.

    Raises:
        ConfigError: the setting is not of this form, or no such figure is logged.
    """

    def __init__(self, setting: str, names: Collection[str], early_stop: int | None = 0) -> None:
        self.name, self._sign = _parse(setting, names)
        self.early_stop = early_stop or 0
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.not_improved = 0

    @property
    def enabled(self) -> bool:
        return self.name is not None

    @property
    def exhausted(self) -> bool:
        """True if ``early_stop`` validations in a row did not improve."""
        return 0 < self.early_stop <= self.not_improved

    def value(self, figures: Mapping[str, Any]) -> float:
        """Return the monitored figure; NaN where it is off, undefined or not among ``figures``."""
        part, _, wanted = (self.name or "").partition("_")
        figure, slash, name = wanted.partition("/")
        found = (
            figures.get(f"{part}_{_TABLES[figure]}", {}).get(name) if slash else figures.get(self.name or "")
        )
        return math.nan if found is None else float(found)

    def update(self, figures: Mapping[str, Any], epoch: int) -> bool:
        """Take in one validation's figures, at full precision; NaN never improves, nor does a tie.

        Returns:
            True if it is the best so far.
        """
        if self.name is None:
            return False
        value = self.value(figures)
        better = not math.isnan(value) and (self.best is None or self._sign * value > self._sign * self.best)
        if better:
            self.best, self.best_epoch, self.not_improved = value, epoch, 0
        else:
            self.not_improved += 1
        return better

    def log_result(self, file: Path) -> None:
        """Log what a run that has ended came to.

        Args:
            file: the checkpoint of its best epoch.
        """
        if self.exhausted:
            logger.info("Stopped early: %d validations without improvement", self.not_improved)
        if self.best is not None:
            logger.info("Best %s: %.4f (epoch %s): %s", self.name, self.best, self.best_epoch, file)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "not_improved": self.not_improved}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.not_improved = state["not_improved"]


def _parse(setting: str, names: Collection[str]) -> tuple[str | None, int]:
    if setting == "off":
        return None, 0
    direction, _, wanted = setting.partition(" ")
    if direction not in ("max", "min") or not wanted:
        raise ConfigError(f"trainer.monitor: expected 'max NAME', 'min NAME' or 'off', got '{setting}'")
    for name in (f"val_{wanted}", wanted, f"train_{wanted}"):
        if name in names:
            return name, 1 if direction == "max" else -1
    bare = dict.fromkeys(name.removeprefix("val_").removeprefix("train_") for name in names)
    if "/" not in wanted:
        bare = {name: None for name in bare if "/" not in name}
    raise ConfigError(
        f"trainer.monitor: nothing called '{wanted}' is logged{did_you_mean(wanted, bare) or '.'}"
        f" Choose from: {', '.join(bare)}"
    )
