"""Experiments, data sets and their mistakes from plain configs, as the entry scripts make them."""

from __future__ import annotations

import json
from typing import Any

from base import BaseDataLoader
from dataloaders.build import DATA_SETS, open_loader
from train import check_experiment
from utils.config.factory import Component, require
from utils.config.file import ConfigSource
from utils.config.sections import Experiment
from utils.errors import ConfigError


def experiment_of(config: dict[str, Any]) -> Experiment:
    """Return the checked experiment of plain values."""
    return check_experiment(ConfigSource(json.loads(json.dumps(config))))


def problems_of(config: dict[str, Any]) -> list[str]:
    """Return every mistake of a config, each beginning with its JSON path."""
    try:
        experiment_of(config)
    except ConfigError as error:
        return [problem.removeprefix("config: ") for problem in error.problems]
    return []


def open_data(spec: dict[str, Any], path: str = "train_loader") -> BaseDataLoader:
    """Open the data that ``{"type": ..., "args": ...}`` names, checked first."""
    component = Component.from_plain(spec, path)
    require(DATA_SETS, component, path)
    return open_loader(component, path, component.args.get("seed", 0))
