"""The folder of one run: exclusive, locked while in use, with the names of everything in it."""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import shutil
import time
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.config.file import save_config
from utils.errors import ConfigError, StorageError
from utils.run.checkpoint import remove_leftovers
from utils.system.files import replacing
from utils.system.logger import log_to_file

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


logger = logging.getLogger(__name__)


class RunFolder:
    """Paths of one run and its machine-readable log.

    Args:
        path: the folder, which exists.

    Raises:
        StorageError: another process is using the folder, or it cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = self._acquire_lock()
        remove_leftovers(self.path)

    @classmethod
    def create(cls, save_dir: str | Path, name: str) -> RunFolder:
        """Make ``save_dir/name/TIME``; runs started in the same second get different folders.

        Raises:
            ConfigError: ``name`` is not a plain folder name.
            StorageError: the folder cannot be made or written.
        """
        parent = Path(save_dir) / checked_name(name)
        stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
        try:
            parent.mkdir(parents=True, exist_ok=True)
            for attempt in range(1, 10_000):
                path = parent / (stamp if attempt == 1 else f"{stamp}_{attempt}")
                try:
                    path.mkdir()
                except FileExistsError:
                    continue
                return cls(path)
        except OSError as error:
            raise StorageError(f"{parent}: cannot be written ({error.strerror})") from error
        raise StorageError(f"{parent}: no free name for a run")

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def metrics(self) -> Path:
        """One JSON object per line and epoch."""
        return self.path / "metrics.jsonl"

    @property
    def last(self) -> Path:
        return self.path / "last.pth"

    @property
    def previous(self) -> Path:
        """The checkpoint that was ``last`` before, in case ``last`` is damaged."""
        return self.path / "previous.pth"

    @property
    def best(self) -> Path:
        return self.path / "best_model.pth"

    def numbered(self, epoch: int) -> Path:
        return self.path / f"checkpoint-epoch{epoch}.pth"

    def all_numbered(self) -> list[Path]:
        """Numbered checkpoints, oldest first."""
        found = self.path.glob("checkpoint-epoch*.pth")
        return sorted(found, key=lambda p: int(p.stem.removeprefix("checkpoint-epoch")))

    def append_metrics(self, record: dict[str, Any]) -> None:
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")

    def truncate_metrics(self, epoch: int) -> None:
        """Drop the lines of ``epoch`` and later, which a resumed run is about to write again."""
        if not self.metrics.exists():
            return
        lines = self.metrics.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["epoch"] < epoch]
        with replacing(self.metrics) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")

    def close(self) -> None:
        """Let another process use the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _acquire_lock(self) -> int | None:
        """A file descriptor that holds the lock for as long as the process lives."""
        if fcntl is None:
            return None
        try:
            lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be written ({error.strerror})") from error
        try:
            # record locks belong to the process alone: workers that outlive a killed run hold none
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise StorageError(f"{self.path}: another process is training in this folder") from None
        return lock


def open_run(
    save_dir: str,
    name: str,
    config: Mapping[str, Any],
    folder: Path | None,
    *,
    temporary: bool = False,
) -> RunFolder:
    """Make the folder of a new run, or open the one to continue; its config and log are written.

    Args:
        save_dir: where runs go.
        name: the run's name.
        config: saved as strict JSON.
        folder: the run to continue; ``None`` makes a new one.
        temporary: a new folder is removed when the process ends.

    Raises:
        StorageError: the folder cannot be written, or another process is using it.
    """
    run = RunFolder.create(save_dir, name) if folder is None else RunFolder(folder)
    try:
        save_config(config, run.config)
        if temporary and folder is None:
            atexit.register(shutil.rmtree, run.path, ignore_errors=True)
        else:
            log_to_file(run.log)
            logger.info("Run folder: %s", run.path)
    except OSError as error:
        raise StorageError(f"{run.path}: cannot be written ({error.strerror})") from error
    return run


def checked_name(name: str) -> str:
    """A name that cannot lead out of its folder.

    Raises:
        ConfigError: it holds anything but letters, digits, ``_``, ``-`` and ``.``.
    """
    name = unicodedata.normalize("NFKC", name)
    if not re.fullmatch(r"[\w.-]{1,200}", name) or set(name) == {"."}:
        raise ConfigError(f"name: '{name}': only letters, digits, '_', '-' and '.' can name a run folder")
    return name


def newest_run(save_dir: str | Path, name: str) -> Path | None:
    """The run of this name whose checkpoint was written last; None if there is none."""
    parent = Path(save_dir) / checked_name(name)
    saved = [*parent.glob("*/last.pth"), *parent.glob("*/previous.pth")]
    return max(saved, key=lambda path: path.stat().st_mtime_ns).parent if saved else None
