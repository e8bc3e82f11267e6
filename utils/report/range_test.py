"""Picture of a range test of learning rates."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from utils.config.sections import Experiment
from utils.errors import StorageError
from utils.training.find_lr import RangedTrainer, RangeTest, find_lr
from utils.training.optimizer import build_optimizer

logger = logging.getLogger(__name__)

DEFAULT = "find_lr.png"

_SIZE = (900, 420)
_LEFT, _TOP, _RIGHT, _BOTTOM = 90, 40, 20, 50
_HEADROOM = 1.5  # of the first loss; an explosion beyond it is cut off
_LOSS, _SMOOTHED, _SUGGESTED = "#bbbbbb", "#1f77b4", "#d62728"


def report_range_test(trainer: RangedTrainer, experiment: Experiment, output: str | None) -> None:
    """Test learning rates, draw the losses and log the suggestion with its rule.

    Args:
        trainer: a trainer that is not running; afterwards its state is what it was.
        experiment: its config.
        output: file or folder of the picture; ``None`` is the current folder.

    Raises:
        StorageError: the picture cannot be written.
        SegwrightError: as :func:`find_lr`.
    """
    path = picture_path(output)
    result = find_lr(trainer, lambda: build_optimizer(experiment.optimizer, trainer.model))
    draw_range_test(result, path)
    low, high = result.rates[0], result.rates[-1]
    logger.info("%d steps at learning rates from %.1e to %.1e: %s", len(result.rates), low, high, path)
    if result.suggestion is None:
        logger.info("No suggestion: the loss falls at none of them. Nothing but the picture was kept.")
        return
    logger.info(
        "Suggested optimizer.args.lr: %.2g, where the smoothed loss falls fastest (the config has %s). Nothing "
        "but the picture was kept.", result.suggestion, experiment.optimizer.args.get("lr", "none"),
    )  # fmt: skip


def picture_path(output: str | None) -> Path:
    """Return the file of the picture: ``output``, or ``find_lr.png`` in that folder or in the current one.

    Raises:
        StorageError: its folder does not exist.
    """
    path = Path(DEFAULT if output is None else output)
    path = path / DEFAULT if path.is_dir() else path
    if not path.parent.is_dir():
        raise StorageError(f"--output {path}: there is no folder {path.parent}")
    return path


def draw_range_test(result: RangeTest, path: str | Path) -> None:
    """Write a PNG: losses and smoothed losses over the logarithm of the learning rate, and the suggestion.

    Raises:
        StorageError: it cannot be written.
    """
    image = Image.new("RGB", _SIZE, "white")
    axes = _Axes(ImageDraw.Draw(image), result)
    axes.draw_grid()
    axes.line(result.losses, _LOSS, 1)
    axes.line(result.smoothed, _SMOOTHED, 3)
    if result.suggestion is None:
        axes.title("loss, grey; smoothed, blue; it falls at no learning rate")
    else:
        axes.mark(result.suggestion)
        axes.title(f"loss, grey; smoothed, blue; it falls fastest at {result.suggestion:.2g}, red")
    try:
        image.save(path, format="PNG")
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror or error})") from error


class _Axes:
    """A logarithmic axis of learning rates and a linear one of losses."""

    def __init__(self, draw: ImageDraw.ImageDraw, result: RangeTest) -> None:
        self.draw, self.result = draw, result
        self.font = ImageFont.load_default(14)
        self.width, self.height = _SIZE[0] - _LEFT - _RIGHT, _SIZE[1] - _TOP - _BOTTOM
        self.low, self.high = (math.log10(rate) for rate in (result.rates[0], result.rates[-1]))
        self.bottom = min(result.losses)
        self.top = max(min(max(result.losses), _HEADROOM * result.losses[0]), self.bottom + 1e-6)

    def x(self, rate: float) -> float:
        """Return the column of a learning rate."""
        return _LEFT + self.width * (math.log10(rate) - self.low) / max(self.high - self.low, 1e-6)

    def y(self, loss: float) -> float:
        """Return the row of a loss; one above the picture is at its upper edge."""
        return _TOP + self.height * (self.top - min(loss, self.top)) / (self.top - self.bottom)

    def draw_grid(self) -> None:
        """Draw a line for each power of ten and for each quarter of the losses."""
        for part in range(5):
            loss = self.bottom + (self.top - self.bottom) * part / 4
            self.draw.line((_LEFT, self.y(loss), _LEFT + self.width, self.y(loss)), fill="#dddddd")
            self.draw.text((8, self.y(loss) - 8), f"{loss:.4g}", fill="black", font=self.font)
        for power in range(math.ceil(self.low), math.floor(self.high) + 1):
            column = self.x(10.0**power)
            self.draw.line((column, _TOP, column, _TOP + self.height), fill="#dddddd")
            self.draw.text((column - 14, _TOP + self.height + 8), f"1e{power}", fill="black", font=self.font)
        place = (_LEFT + self.width / 2 - 40, _SIZE[1] - 24)
        self.draw.text(place, "learning rate", fill="black", font=self.font)

    def line(self, losses: Sequence[float], colour: str, width: int) -> None:
        """Draw a loss for each learning rate."""
        points = [(self.x(rate), self.y(loss)) for rate, loss in zip(self.result.rates, losses, strict=True)]
        self.draw.line(points if len(points) > 1 else points * 2, fill=colour, width=width)

    def mark(self, rate: float) -> None:
        """Draw a vertical line at a learning rate."""
        self.draw.line((self.x(rate), _TOP, self.x(rate), _TOP + self.height), fill=_SUGGESTED, width=2)

    def title(self, words: str) -> None:
        """Write a line above the picture."""
        self.draw.text((_LEFT + 10, 12), words, fill="black", font=self.font)
