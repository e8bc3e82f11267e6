"""Plot of the learning rates of a run, without training."""

from __future__ import annotations

import logging
from collections.abc import Sequence, Sized
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch.optim import Optimizer

from utils.config.sections import Experiment, SchedulerSection
from utils.errors import ConfigError, StorageError
from utils.training.optimizer import ParameterGroups, build_optimizer
from utils.training.schedule import build_schedule, steps_of_epoch

logger = logging.getLogger(__name__)

_SIZE = (900, 420)
_LEFT, _TOP, _RIGHT, _BOTTOM = 90, 40, 20, 50
_MOST_STEPS = 1_000_000  # half a minute
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd")


def learning_rates(
    section: SchedulerSection | None, optimizer: Optimizer, epochs: int, steps_per_epoch: int
) -> list[list[float]]:
    """Return the rate of every parameter group at every step of a run: ``[group][step]``.

    A scheduler that waits for a figure to improve is shown as if the figure always improved.

    Args:
        section: the config's ``lr_scheduler``.
        optimizer: the config's optimizer; it makes no step that changes a weight.
        epochs: length of the run.
        steps_per_epoch: optimizer steps of an epoch.
    """
    schedule = build_schedule(section, optimizer, epochs, steps_per_epoch)
    rates: list[list[float]] = []
    for epoch in range(1, epochs + 1):
        for _ in range(steps_per_epoch):
            rates.append(schedule.lrs)
            optimizer.step()  # without gradients: only so that the scheduler may step after it
            schedule.step_done()
        schedule.epoch_done(epoch, float(-epoch if schedule.mode == "min" else epoch))
    return [list(group) for group in zip(*rates, strict=True)]


def draw_rates(rates: Sequence[Sequence[float]], epochs: int, path: str | Path) -> None:
    """Write a PNG of :func:`learning_rates`.

    Raises:
        StorageError: it cannot be written.
    """
    image = Image.new("RGB", _SIZE, "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(14)
    width, height = _SIZE[0] - _LEFT - _RIGHT, _SIZE[1] - _TOP - _BOTTOM
    highest = max(max(group) for group in rates) or 1.0
    for part in range(5):
        y = _TOP + height * part / 4
        draw.line((_LEFT, y, _LEFT + width, y), fill="#dddddd")
        draw.text((8, y - 8), f"{highest * (1 - part / 4):.2e}", fill="black", font=font)
        x = _LEFT + width * part / 4
        draw.line((x, _TOP, x, _TOP + height), fill="#dddddd")
        draw.text((x - 10, _TOP + height + 8), f"{epochs * part / 4:g}", fill="black", font=font)
    draw.text((_LEFT + width / 2 - 20, _SIZE[1] - 24), "epoch", fill="black", font=font)
    for number, group in enumerate(rates):
        colour = _COLOURS[number % len(_COLOURS)]
        scale = width / max(1, len(group) - 1)
        points = [(_LEFT + k * scale, _TOP + height * (1 - lr / highest)) for k, lr in enumerate(group)]
        draw.line(points if len(points) > 1 else points * 2, fill=colour, width=2)
        words = f"group {number}: {group[0]:.3g}, at most {max(group):.3g}, at the end {group[-1]:.3g}"
        draw.text((_LEFT + 10 + 400 * (number % 2), 4 + 16 * (number // 2)), words, fill=colour, font=font)
    try:
        image.save(path, format="PNG")
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror or error})") from error


def rates_of_groups(optimizer: Optimizer) -> Optimizer:
    """Return the same optimizer over one number per group, so that simulating it costs nothing."""
    groups = [
        {**{k: v for k, v in group.items() if k != "params"}, "params": [torch.nn.Parameter(torch.zeros(1))]}
        for group in optimizer.param_groups
    ]
    cls: Any = type(optimizer)
    made: Optimizer = cls(groups)
    return made


def plot_run(experiment: Experiment, model: ParameterGroups, train_loader: Sized, path: str) -> None:
    """Draw the learning rates of every optimizer step of a run into a PNG; nothing is trained.

    Raises:
        ConfigError: the run has too many steps to try each.
        StorageError: it cannot be written.
    """
    epochs = experiment.trainer.epochs
    steps = steps_of_epoch(train_loader, experiment.trainer.accumulate_steps)
    if epochs * steps > _MOST_STEPS:
        raise ConfigError(
            f"--plot-lr: a run of {epochs} epochs of {steps} steps is too long to be drawn; at most {_MOST_STEPS} "
            "steps are"
        )
    optimizer = rates_of_groups(build_optimizer(experiment.optimizer, model))
    draw_rates(learning_rates(experiment.lr_scheduler, optimizer, epochs, steps), epochs, path)
    logger.info("%d epochs of %d steps: %s", epochs, steps, path)
