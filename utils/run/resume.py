"""Finds the checkpoint that a run continues from, and refuses to continue a different experiment."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.config.file import differences
from utils.errors import CheckpointError, ConfigError
from utils.run.checkpoint import load_checkpoint, load_newest
from utils.run.folder import newest_run

logger = logging.getLogger(__name__)

# keys that change how a run is carried out or reported, but not what comes out of it
HARMLESS = (
    "n_gpu",
    "num_threads",
    "tune_allocator",
    "train_loader.args.data_dir",
    "train_loader.args.num_workers",
    "train_loader.args.worker_type",
    "train_loader.args.prefetch_factor",
    "train_loader.args.cache",
    "val_loader.args.data_dir",
    "val_loader.args.num_workers",
    "val_loader.args.worker_type",
    "val_loader.args.prefetch_factor",
    "val_loader.args.cache",
    "val_loader.args.batch_size",
    "trainer.save_dir",
    "trainer.log_dir",
    "trainer.tensorboard",
    "trainer.save_period",
    "trainer.keep_checkpoints",
    "trainer.save_minutes",
    "trainer.log_per_iter",
    "trainer.activation_checkpointing",
)


def find_run(resume: str, config: Mapping[str, Any] | None) -> Path | None:
    """The run folder that ``--resume`` means.

    Args:
        resume: a checkpoint, a run folder, or ``auto``: the newest run of the config's name.
        config: the config given; needed for ``auto``.

    Returns:
        ``None`` where ``auto`` finds no run to continue.

    Raises:
        CheckpointError: the path does not exist.
    """
    if resume == "auto":
        config = config or {}
        trainer = config.get("trainer")
        save_dir = trainer.get("save_dir", "saved/") if isinstance(trainer, dict) else "saved/"
        return newest_run(str(save_dir), str(config.get("name", "")))
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
        checkpoint, path = load_newest([folder / "last.pth", folder / "previous.pth"])
    if "rng" not in checkpoint or "optimizer" not in checkpoint:
        raise CheckpointError(f"{path}: holds a model only; a run cannot be continued from it")
    logger.info("Resuming from %s", path)
    return checkpoint


def refuse_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Refuse a config that would make the rest of a run another experiment.

    Raises:
        ConfigError: naming every path that differs.
    """
    changed = {k: v for k, v in differences(old, new).items() if not k.startswith(HARMLESS)}
    if changed:
        raise ConfigError(
            [
                f"{path}: the run was started with {was!r}, now it says {now!r}"
                for path, (was, now) in changed.items()
            ]
            + ["leave --config out to continue with the run's own config, or add --allow-change"]
        )
