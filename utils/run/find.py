"""The checkpoint that a path of the command line means."""

from __future__ import annotations

from pathlib import Path

from utils.errors import CheckpointError


def find_checkpoint(path: Path) -> Path:
    """Return a file as it is; of a run folder, or a folder of runs, the newest ``best_model.pth``.

    Raises:
        CheckpointError: the folder holds none.
    """
    if not path.is_dir():
        return path
    found = [*path.glob("best_model.pth"), *path.glob("*/best_model.pth")]
    if not found:
        raise CheckpointError(f"--model {path}: there is no best_model.pth in this folder")
    return max(found, key=lambda file: file.stat().st_mtime_ns)
