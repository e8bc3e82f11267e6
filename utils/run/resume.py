"""The checkpoint that a run continues from; the refusal to continue another experiment."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.config.changes import impossible_changes, refused_changes
from utils.config.sections import Experiment
from utils.errors import CheckpointError, ConfigError
from utils.run.checkpoint import load_checkpoint, load_newest
from utils.run.folder import newest_run, whole_checkpoints

logger = logging.getLogger(__name__)


def find_run(resume: str, experiment: Experiment | None) -> Path | None:
    """Find the run folder that ``--resume`` names.

    Args:
        resume: a checkpoint, a run folder, or ``auto``: the newest run of the experiment's name.
        experiment: the config given; needed for ``auto``.

    Returns:
        ``None`` where ``auto`` finds no run to continue.

    Raises:
        CheckpointError: the path does not exist.
    """
    if resume == "auto":
        assert experiment is not None
        folder = newest_run(experiment.trainer.save_dir, experiment.name)
        if folder is None:
            logger.info("--resume auto: no run of this name to continue; starting a new one")
        return folder
    path = Path(resume)
    if not path.exists():
        raise CheckpointError(f"--resume {resume}: there is no such file or folder")
    return path if path.is_dir() else path.parent


def load_resumed(resume: str, folder: Path) -> dict[str, Any]:
    """Load the checkpoint to continue from: the named file, or the newest whole one of the folder.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    path = Path(resume)
    if resume != "auto" and path.is_file():
        checkpoint = load_checkpoint(path)
    else:
        checkpoint, path = _load_newest(folder)
    if "rng" not in checkpoint or "optimizer" not in checkpoint:
        raise CheckpointError(f"{path}: holds a model only; a run cannot be continued from it")
    logger.info("Resuming from %s", path)
    return checkpoint


def _load_newest(folder: Path) -> tuple[dict[str, Any], Path]:
    try:
        return load_newest([folder / "last.pth", folder / "previous.pth"])
    except CheckpointError as error:
        whole = whole_checkpoints(folder)
        if not whole:
            raise
        names = ", ".join(path.name for path in whole)
        raise CheckpointError(f"{error}; whole: {names}; to continue: --resume {whole[0]}") from error


def refuse_changes(
    checkpoint: Mapping[str, Any],
    experiment: Experiment,
    *,
    allowed: bool = False,
    extend: bool = False,
    given: Sequence[str] = (),
) -> None:
    """Refuse a config that would make the rest of a run another experiment.

    Args:
        checkpoint: the state to continue from, with the config that the run was started with.
        experiment: the config to continue with.
        allowed: the user allows every change that can take effect.
        extend: the user allows another ``trainer.epochs``.
        given: options of the command line that made this config, such as ``--set``; for the message.

    Raises:
        ConfigError: naming every path that differs.
    """
    changed = refused_changes(checkpoint["config"], experiment)
    if allowed or extend:
        _refuse_fewer_epochs(checkpoint, experiment)
    if allowed:
        impossible = impossible_changes(changed)
        if impossible:
            started = "cannot change in a run that has started"
            raise ConfigError([f"{path}: {started}: {reason}" for path, reason in impossible.items()])
        return
    if extend:
        changed.pop("trainer.epochs", None)
    if changed:
        differing = [
            f"{path}: the run was started with {was!r}, now it says {now!r}"
            for path, (was, now) in changed.items()
        ]
        raise ConfigError([*differing, _remedy(set(changed), experiment.trainer.epochs, given)])


def _remedy(changed: set[str], epochs: int, given: Sequence[str]) -> str:
    """Return what to type instead, for keys that differ and the options that made them differ."""
    if given:
        own = f"leave {' and '.join(given)} out to continue with the run's own config"
    else:  # --resume auto read config.json
        own = "give --resume the run's folder to continue with its own config"
    if changed == {"trainer.epochs"}:
        return f"to train to epoch {epochs}, give --extend {epochs} instead; or {own}"
    return f"{own}, or add --allow-change"


def _refuse_fewer_epochs(checkpoint: Mapping[str, Any], experiment: Experiment) -> None:
    begun = checkpoint["epoch"] - (not checkpoint["step"])
    epochs = experiment.trainer.epochs
    if epochs < begun:
        raise ConfigError(f"trainer.epochs: {epochs} is too few: the run has reached epoch {begun}")
