"""The summary of a run that stands at the top of its log."""

from __future__ import annotations

import logging
from collections.abc import Sized
from typing import Protocol

from torch import nn

from utils.dataset_info import DatasetInfo

logger = logging.getLogger(__name__)

_SHOWN_CLASSES = 25


class CountedLoader(Sized, Protocol):
    """A loader whose images and batches can be counted.

    Attributes:
        info: classes of its data set.
    """

    info: DatasetInfo

    @property
    def dataset(self) -> Sized: ...


def log_summary(model: nn.Module, train_loader: CountedLoader, val_loader: CountedLoader | None) -> None:
    """Log the size of the model, of the data and the classes."""
    total = sum(p.numel() for p in model.parameters())
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    name = type(model).__name__
    logger.info("%s: %.2f M parameters, %.2f M of them trained", name, total / 1e6, trainable / 1e6)
    for title, loader in (("Training", train_loader), ("Validation", val_loader)):
        if loader is not None:
            logger.info("%s: %d images in %d batches", title, len(loader.dataset), len(loader))
    names = train_loader.info.classes
    shown = ", ".join(names[:_SHOWN_CLASSES]) + (", ..." if len(names) > _SHOWN_CLASSES else "")
    logger.info("%d classes: %s", len(names), shown)
