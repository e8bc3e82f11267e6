"""A run that continues from an old checkpoint: in a folder of its own, because the old one has gone further."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.errors import CheckpointError
from utils.run.checkpoint import link_or_copy, load_checkpoint
from utils.run.folder import RunFolder

logger = logging.getLogger(__name__)


def older_state(resume: str | None, folder: Path | None, checkpoint: Mapping[str, Any] | None) -> Path | None:
    """Return the file that ``--resume`` names if its run has gone further than this state.

    Args:
        resume: the value of ``--resume``.
        folder: the run folder; ``None`` for a new run.
        checkpoint: the state to continue from; ``None`` for a new run.
    """
    if resume in (None, "auto") or folder is None or checkpoint is None:
        return None
    path = Path(resume or "")
    if not path.is_file() or path.name == "last.pth":
        return None
    newest = _newest_position(folder)
    if newest is None or newest <= _position(checkpoint):
        return None
    logger.info(
        "%s is older than the newest state of its run (epoch %d): continuing in a new run folder; "
        "%s stays as it is", path, newest[0] - (not newest[1]), folder,
    )  # fmt: skip
    return path


def branch_off(run: RunFolder, origin: Path | None, checkpoint: Mapping[str, Any] | None) -> None:
    """Start a new run folder with an old state of another run: checkpoint, best model and figures so far.

    Args:
        run: the new folder.
        origin: the checkpoint to continue from; ``None`` does nothing.
        checkpoint: its content.

    Raises:
        StorageError: a file could not be written.
    """
    if origin is None or checkpoint is None:
        return
    old = origin.parent
    link_or_copy(origin, run.last)
    best = checkpoint["monitor"]["best_epoch"]
    for path in (old / "best_model.pth", old / f"checkpoint-epoch{best}.pth"):
        if best is not None and _position_of(path) == (best + 1, 0):
            link_or_copy(path, run.best)
            break
    else:
        if best not in (None, checkpoint["epoch"] - 1):
            logger.warning("the best checkpoint so far, of epoch %d, is not kept in %s any more", best, old)
    if (old / "metrics.jsonl").exists():
        link_or_copy(old / "metrics.jsonl", run.metrics)  # cut to the epoch when the run is opened


def _newest_position(folder: Path) -> tuple[int, int] | None:
    for name in ("last.pth", "previous.pth"):
        position = _position_of(folder / name)
        if position is not None:
            return position
    others = [_position_of(path) for path in folder.glob("*.pth")]
    return max((position for position in others if position is not None), default=None)


def _position_of(path: Path) -> tuple[int, int] | None:
    try:
        return _position(load_checkpoint(path))
    except CheckpointError:
        return None


def _position(checkpoint: Mapping[str, Any]) -> tuple[int, int]:
    return checkpoint.get("epoch", 0), checkpoint.get("step", 0)
