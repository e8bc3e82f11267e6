"""Checks of the validation data against the training data: the same facts, no common files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from base import BaseDataLoader, BaseDataSet
from utils.data.pairing import name_some
from utils.dataset_info import DatasetInfo
from utils.errors import ConfigError, DataError

_TITLES = {"palette": "colours", "mean": "mean", "std": "std", "label_ids": "label_ids"}


def require_same_info(train: DatasetInfo, val: DatasetInfo) -> None:
    """Check that validation data has the classes, colours and normalisation of the training data.

    Raises:
        ConfigError: they differ; one line says in what.
    """
    if val.classes != train.classes:
        raise ConfigError("val_loader: its classes are not those of train_loader")
    if val.in_channels != train.in_channels:
        differing: list[tuple[str, Any, Any]] = [("channels", val.in_channels, train.in_channels)]
    else:
        differing = [
            (title, _plain(getattr(val, name)), _plain(getattr(train, name)))
            for name, title in _TITLES.items()
            if getattr(val, name) != getattr(train, name)
        ]
    if differing:
        what = "; ".join(f"{title} {own}, not {theirs}" for title, own, theirs in differing)
        raise ConfigError(f"val_loader: it must have what train_loader has, but differs in {what}")


def require_apart(train: BaseDataLoader, val: BaseDataLoader) -> None:
    """Check that no image file is in the training and in the validation data.

    Raises:
        DataError: some are; the message counts them and names the first three.
    """
    common = common_files(train.dataset, val.dataset)
    if common:
        raise DataError(
            f"val_loader: {len(common)} of its {len(val.dataset)} images are training images too: "
            f"{name_some(common)}; give both loaders the same val_fraction, folds and group, or other splits; "
            "allow_overlap: true accepts it",
            kind="duplicate",
            paths=common,
        )


def common_files(train: BaseDataSet, val: BaseDataSet) -> list[Path]:
    """Return the images of ``val`` that are files of ``train``, also by way of a link."""
    known = {os.path.realpath(sample.image) for sample in train.files}
    return [sample.image for sample in val.files if os.path.realpath(sample.image) in known]


def _plain(value: Sequence[Any]) -> list[Any]:
    """Return nested lists, as a config writes them."""
    return [list(item) if isinstance(item, tuple) else item for item in value]
