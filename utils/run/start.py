"""Start of a program that trains: the config, and the run folder and the checkpoint to continue."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from utils.config.auto_batch import as_recorded
from utils.config.file import ConfigSource, with_overrides
from utils.config.sections import Experiment
from utils.run.arguments import given_options
from utils.run.resume import find_run, load_resumed, refuse_changes
from utils.run.trust import checkpoint_names

Start = tuple[Experiment, Path | None, dict[str, Any] | None]


def find_start(
    args: argparse.Namespace, source: ConfigSource | None, check: Callable[[ConfigSource], Experiment]
) -> Start:
    """Return the experiment with the run folder and the checkpoint to continue (``None`` for a new run).

    Args:
        args: the command line of train.py.
        source: the config given; ``None`` takes that of the run.
        check: turns a config into an experiment, or raises a ConfigError.

    Raises:
        ConfigError: mistakes in the config, or it differs from that of the run.
        CheckpointError: there is no such run, or nothing to continue it from.
    """
    experiment = None if source is None else check(source)
    folder = None if args.resume is None else find_run(args.resume, experiment)
    if folder is None:
        assert experiment is not None  # a new run, or --resume auto without a run: both have a config
        return experiment, None, None
    checkpoint = load_resumed(args.resume, folder)
    carried = ConfigSource(checkpoint["config"], str(folder))
    if experiment is None:
        with checkpoint_names(args.resume, folder / "last.pth", args.set, trust=args.trust):
            experiment = check(with_overrides(carried, args.set))
    experiment = as_recorded(experiment, checkpoint["config"])
    allowed = {"allowed": args.allow_change, "extend": args.extend is not None}
    refuse_changes(checkpoint, experiment, **allowed, given=given_options(args))
    return experiment, folder, checkpoint
