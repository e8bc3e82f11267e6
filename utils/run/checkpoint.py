"""Checkpoint files: plain content, written atomically, verified by a hash when they are opened.

A checkpoint is an ordinary ``torch.save`` archive whose zip comment holds the SHA-256 of the rest of the
file, so a checkpoint verifies itself and every tool that opens zip archives still reads it. It holds tensors
and plain Python types only and is opened with ``weights_only=True``: nothing in it is ever executed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import struct
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import torch

from utils.errors import CheckpointError, StorageError, first_line
from utils.export.contract import exported_format
from utils.run.state import check_state
from utils.system.files import replacing
from utils.system.tensor_file import read_tensors

logger = logging.getLogger(__name__)

FORMAT = 1
_END_RECORD = b"PK\x05\x06"
_END_RECORD_SIZE = 22
_MARK = b"segwright-sha256:"
_COMMENT_SIZE = len(_MARK) + 64
_CHUNK = 2**22


def save_checkpoint(
    path: str | Path, state: Mapping[str, Any], *, backup: Path | None = None, names: Sequence[Path] = ()
) -> None:
    """Write ``state`` atomically.

    Everything that needs space on the disk is written before the first file gets its name, so that a full disk
    changes nothing.

    Args:
        path: the file.
        state: tensors and plain Python types.
        backup: new name of the file that was at ``path``; ``None`` replaces it.
        names: further files of the same content in the same folder; they get their names after ``path``.

    Raises:
        StorageError: the disk is full or the folder cannot be written; all files are unchanged.
        TypeError: a value is neither a tensor nor of a plain type.
    """
    path = Path(path)
    _require_plain(state, "checkpoint")
    try:
        with ExitStack() as renames:  # which it does in reverse order
            others = [renames.enter_context(replacing(name)) for name in reversed(names)]
            temporary = renames.enter_context(replacing(path))
            with temporary.open("w+b") as file:
                torch.save({"format": FORMAT, **state}, file)
                _append_hash(file)
                file.flush()
                os.fsync(file.fileno())
            for other in others:
                _link_or_copy(temporary, other)
            if backup is not None and path.exists():
                path.replace(backup)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch reports a failed write as a RuntimeError
        reason = error.strerror if isinstance(error, OSError) else first_line(error)
        raise StorageError(f"{path}: the checkpoint could not be written ({reason})") from error


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU after verifying its hash.

    Raises:
        CheckpointError: the file is missing, damaged, not a checkpoint of this program, holds anything but
            tensors and plain types (which is not executed), or an entry of a wrong type or range.
    """
    path = _find(path)
    verify_checkpoint(path)
    state = read_tensors(path)
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path}: is not a checkpoint of format {FORMAT} of this program")
    check_state(state, path)
    return state


def load_any(path: str | Path) -> dict[str, Any]:
    """Read weights that this or another program saved, for fine-tuning.

    Files of other programs carry no hash, so only our own are verified; nothing in either is ever executed.

    Raises:
        CheckpointError: the file is missing, damaged, or holds anything but tensors and plain types.
    """
    path = _find(path)
    if _is_marked(path):
        return load_checkpoint(path)
    with warnings.catch_warnings():  # of damaged files, about which the error says enough
        warnings.simplefilter("ignore")
        state = read_tensors(path)
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: holds no weights by name")
    return state


def verify_checkpoint(path: str | Path) -> None:
    """Compare the content of a checkpoint with its hash.

    Raises:
        CheckpointError: they differ, or the file carries no hash.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            body = size - _COMMENT_SIZE
            file.seek(max(0, body - _END_RECORD_SIZE))
            tail = file.read()
            ending = _END_RECORD, struct.pack("<H", _COMMENT_SIZE) + _MARK
            if not (tail.startswith(ending[0]) and tail[_END_RECORD_SIZE - 2 :].startswith(ending[1])):
                raise CheckpointError(f"{path}: is damaged, or not a checkpoint of this program")
            digest = _hash(file, body)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if digest != tail[_END_RECORD_SIZE + len(_MARK) :].decode("ascii", "replace"):
        raise CheckpointError(f"{path}: is damaged: its content does not match its hash")


def load_newest(candidates: list[Path]) -> tuple[dict[str, Any], Path]:
    """Load the first candidate that is intact, with a warning for each damaged one before it.

    Raises:
        CheckpointError: none is intact.
    """
    problems = []
    for path in candidates:
        if path.exists():
            try:
                return load_checkpoint(path), path
            except CheckpointError as error:
                logger.warning("%s; trying the one before", error)
                problems.append(str(error))
    raise CheckpointError("; ".join(problems) or f"{candidates[0]}: no such checkpoint")


def link_or_copy(source: Path, target: Path) -> None:
    """Give a checkpoint a second name, atomically, by a hard link where the file system has them.

    Raises:
        StorageError: it could not be written.
    """
    try:
        with replacing(target) as temporary:
            _link_or_copy(source, temporary)
    except OSError as error:
        raise StorageError(f"{target}: could not be written ({error.strerror})") from error


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())


def is_whole(path: Path) -> bool:
    """Return whether the content of a checkpoint matches its hash."""
    try:
        verify_checkpoint(path)
    except CheckpointError:
        return False
    return True


def holds(path: Path, state: Mapping[str, Any]) -> bool:
    """Return whether a file is a whole checkpoint of the same weights after the same batches."""
    try:
        saved = load_checkpoint(path)
    except CheckpointError:
        return False
    same = all(saved.get(key) == state[key] for key in ("epoch", "step", "global_step"))
    weights = saved.get("model", {})
    return same and all(
        key in weights and torch.equal(weights[key], value.cpu()) for key, value in state["model"].items()
    )


def _find(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    if exported_format(path):
        raise CheckpointError(f"{path}: is an exported model; give the checkpoint (.pth) it was made from")
    return path


def _is_marked(path: Path) -> bool:
    """Return whether a file ends in the hash that :func:`save_checkpoint` writes."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _COMMENT_SIZE))
        return file.read(len(_MARK)) == _MARK


def _append_hash(file: BinaryIO) -> None:
    """Add the zip comment; the hash is that of the file before, with a comment length of 0."""
    size = file.seek(0, os.SEEK_END)
    file.seek(size - _END_RECORD_SIZE)
    if not file.read().startswith(_END_RECORD):
        raise RuntimeError("torch.save did not end the archive as expected")
    comment = _MARK + _hash(file, size).encode("ascii")
    file.seek(size - 2)
    file.write(struct.pack("<H", len(comment)) + comment)


def _hash(file: BinaryIO, size: int) -> str:
    """Return the SHA-256 of the first ``size`` bytes, with 0 for the last two (the comment length)."""
    digest = hashlib.sha256()
    file.seek(0)
    remaining = size - 2
    while remaining:
        chunk = file.read(min(_CHUNK, remaining))
        if not chunk:
            break
        digest.update(chunk)
        remaining -= len(chunk)
    digest.update(b"\x00\x00")
    return digest.hexdigest()


def _require_plain(value: Any, path: str) -> None:
    """Raise a TypeError before writing, because ``weights_only`` loading accepts nothing else."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _require_plain(item, f"{path}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _require_plain(item, f"{path}[{index}]")
    elif not (
        value is None or type(value) in (bool, int, float, str, bytes) or isinstance(value, torch.Tensor)
    ):
        raise TypeError(f"{path}: a checkpoint cannot hold a {type(value).__name__}")


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
