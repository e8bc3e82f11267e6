"""The folder of one run: the names of its files, used by one process at a time."""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import shutil
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.config.file import save_config
from utils.errors import ConfigError, StorageError
from utils.run.checkpoint import holds, is_whole, link_or_copy
from utils.run.lock import lock_folder
from utils.system.files import remove_leftovers, replacing
from utils.system.logger import log_to_file

logger = logging.getLogger(__name__)

_NUMBERED = re.compile(r"checkpoint-epoch([0-9]{1,15})\.pth")


class RunFolder:
    """Paths of one run and its machine-readable log; locked from creation to :meth:`close`.

    Args:
        path: the folder, which exists.

    Raises:
        StorageError: another process is using the folder, or it cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._unlock: Callable[[], None] | None = lock_folder(self.path)
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
        """File of one JSON object per line and epoch."""
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
        """Return the numbered checkpoints, oldest first, without others such as ``checkpoint-epochX.pth``."""
        found = {path: _NUMBERED.fullmatch(path.name) for path in self.path.glob("checkpoint-epoch*.pth")}
        numbers = {path: int(match[1]) for path, match in found.items() if match}
        return sorted(numbers, key=lambda path: numbers[path])

    def remove_numbered(self, limit: int) -> None:
        """Delete the oldest numbered checkpoints.

        Args:
            limit: number of them to keep; 0 keeps all.
        """
        for old in self.all_numbered()[:-limit] if limit else []:
            old.unlink(missing_ok=True)

    def name_again(self, state: Mapping[str, Any], names: Sequence[Path]) -> None:
        """Give the newest checkpoint the other names that it lacks because the process was killed.

        Args:
            state: the state that the run continues from.
            names: the files that hold this state.

        Raises:
            StorageError: a name could not be written.
        """
        wrong = [path for path in names if not holds(path, state)]
        sources = [path for path in (self.last, self.previous) if wrong and holds(path, state)]
        for path in wrong if sources else []:
            link_or_copy(sources[0], path)
            logger.info("%s: written, because the run folder lacked it", path)

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Add one line to :attr:`metrics`.

        Raises:
            ValueError: a number is NaN or infinite, which JSON cannot express.
        """
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def truncate_metrics(self, epoch: int) -> None:
        """Drop the lines of ``epoch`` and later, which a resumed run is about to write again.

        Lines that cannot be read are left out with a warning; the file as it was stays beside it.
        """
        if not self.metrics.exists():
            return
        lines = self.metrics.read_bytes().split(b"\n")
        ended = [line for line in lines[:-1] if line.strip()]  # what follows the last one was cut by a kill
        epochs = [_epoch_of(line) for line in ended]
        if None in epochs:
            copy = self.metrics.with_name("metrics.damaged.jsonl")
            shutil.copyfile(self.metrics, copy)
            logger.warning(
                "%s: %d lines cannot be read and are left out; the file as it was: %s",
                self.metrics, epochs.count(None), copy.name,
            )  # fmt: skip
        kept = [line for line, of in zip(ended, epochs, strict=True) if of is not None and of < epoch]
        with replacing(self.metrics) as temporary:
            temporary.write_bytes(b"".join(line + b"\n" for line in kept))

    def close(self) -> None:
        """Let another process use the folder."""
        if self._unlock is not None:
            self._unlock()
            self._unlock = None


def _epoch_of(line: bytes) -> int | None:
    """Return the epoch of a line of ``metrics.jsonl``; ``None`` if the line cannot be read."""
    try:
        record = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    epoch = record.get("epoch") if isinstance(record, dict) else None
    return epoch if isinstance(epoch, int) else None


def open_run(
    save_dir: str,
    name: str,
    config: Mapping[str, Any],
    folder: Path | None,
    *,
    temporary: bool = False,
) -> RunFolder:
    """Make the folder of a new run, or open the one to continue; write its config and log.

    Args:
        save_dir: parent folder of all runs.
        name: the run's name.
        config: saved as strict JSON.
        folder: the run to continue; ``None`` makes a new one.
        temporary: for a check: a new folder is removed when the process ends, and an old one keeps its
            config and log.

    Raises:
        StorageError: the folder cannot be written, or another process is using it.
    """
    run = RunFolder.create(save_dir, name) if folder is None else RunFolder(folder)
    try:
        if folder is None or not temporary:
            save_config(config, run.config)
        if not temporary:
            log_to_file(run.log)
            logger.info("Run folder: %s", run.path)
        elif folder is None:
            atexit.register(shutil.rmtree, run.path, ignore_errors=True)
    except OSError as error:
        raise StorageError(f"{run.path}: cannot be written ({error.strerror})") from error
    return run


def whole_checkpoints(folder: Path) -> list[Path]:
    """Return the intact checkpoints of a run folder, the newest first."""
    found = sorted(folder.glob("*.pth"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return [path for path in found if is_whole(path)]


def checked_name(name: str) -> str:
    """Return a run's name, normalised to NFKC, if it cannot lead out of its folder.

    Raises:
        ConfigError: it holds anything but letters, digits, ``_``, ``-`` and ``.``.
    """
    name = unicodedata.normalize("NFKC", name)
    if not re.fullmatch(r"[\w.-]{1,200}", name) or set(name) == {"."}:
        raise ConfigError(f"name: '{name}': only letters, digits, '_', '-' and '.' can name a run folder")
    return name


def newest_run(save_dir: str | Path, name: str) -> Path | None:
    """Return the run of this name whose checkpoint was written last; None if there is none."""
    parent = Path(save_dir) / checked_name(name)
    saved = [*parent.glob("*/last.pth"), *parent.glob("*/previous.pth")]
    return max(saved, key=lambda path: path.stat().st_mtime_ns).parent if saved else None
