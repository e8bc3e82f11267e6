"""The parts of a run that differ by epoch: frozen statistics, crop sizes, and the average of the last weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from utils.augment.warp import Size, size_of
from utils.config.sections import TrainerSection
from utils.training.average import LastEpochsAverage
from utils.training.batch_norm import (
    estimate_statistics,
    freeze_statistics,
    require_batch_norm,
    set_momentum,
)


class Phases:
    """What a run does in some of its epochs only; all of it follows from the number of the epoch.

    Args:
        model: the bare model.
        options: the config's ``trainer`` section.

    Attributes:
        average: the average of the last epochs, or None.

    Raises:
        ConfigError: an option of batch norm, and a model without one.
    """

    def __init__(self, model: nn.Module, options: TrainerSection) -> None:
        self.model, self.options = model, options
        if options.bn_momentum is not None:
            set_momentum(model, options.bn_momentum)
        if options.bn_freeze_from is not None:
            require_batch_norm(model)
        self.average: LastEpochsAverage | None = None
        if options.swa_epochs:
            self.average = LastEpochsAverage(model, options.epochs - options.swa_epochs + 1)

    def start_epoch(self, epoch: int) -> None:
        """Set the model to training mode, as it is in an epoch."""
        self.model.train()
        share = self.options.bn_freeze_from
        if share is not None and progress_at(epoch, self.options.epochs) >= share:
            freeze_statistics(self.model)

    def end_epoch(
        self, epoch: int, images: Iterable[Tensor], compute: Callable[[nn.Module, Tensor], object]
    ) -> None:
        """Take the weights into the average of the last epochs, and estimate its batch norm's statistics.

        Args:
            epoch: the epoch that was trained.
            images: the training images of the epoch in batches, opened only where they are needed.
            compute: the forward pass of a model on images.
        """
        if self.average is None:
            return
        self.average.add(self.model, epoch)
        if self.average.module is not None:
            estimate_statistics(self.average.module, images, compute)

    @property
    def averaged(self) -> nn.Module | None:
        """The average of the last epochs so far; ``None`` before them, and where the run keeps none."""
        return None if self.average is None else self.average.module

    def state_dict(self) -> dict[str, Any]:
        return {} if self.average is None else self.average.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self.average is not None:
            self.average.load_state_dict(state)


def progress_at(epoch: int, epochs: int) -> float:
    """Return the share of a run, 0 to below 1, that is done when an epoch (from 1) begins."""
    return (epoch - 1) / epochs


def crop_sizes(options: TrainerSection) -> list[tuple[int, Size]]:
    """Return the steps of ``crop_schedule`` as (last epoch, (height, width) of the crops), by rising epochs."""
    steps = []
    for until, entry in options.crop_schedule or ():
        last = math.ceil(until * options.epochs)
        while progress_at(last + 1, options.epochs) < until:  # rounding of the product
            last += 1
        while progress_at(last, options.epochs) >= until:
            last -= 1
        steps.append((last, size_of(entry)))
    return steps


def largest_crop_epoch(options: TrainerSection, epoch: int) -> int:
    """Return an epoch, from ``epoch`` on, in which the training crops are largest."""
    steps = [(last, size) for last, size in crop_sizes(options) if last >= epoch]
    if not steps:
        return epoch
    # the last epochs have the crop size of the data, to which the steps rise
    if steps[-1][0] < options.epochs:
        return options.epochs
    return max(steps, key=lambda step: step[1][0] * step[1][1])[0]
