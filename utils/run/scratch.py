"""Runs of which nothing is kept."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from utils.config.sections import Experiment


@contextmanager
def in_scratch(experiment: Experiment) -> Iterator[Experiment]:
    """Give an experiment whose run folders disappear when the block ends; the config that it saves is the same.

    They are on the disk of the run's folders, so that writing takes as long there.

    Raises:
        OSError: the folder that would hold the runs cannot be written.
    """
    parents = [Path(experiment.trainer.save_dir).absolute()]
    parents += parents[0].parents
    parent = next(folder for folder in parents if folder.is_dir())
    with tempfile.TemporaryDirectory(prefix=".segwright-", dir=parent, ignore_cleanup_errors=True) as folder:
        yield replace(experiment, trainer=replace(experiment.trainer, save_dir=folder))
