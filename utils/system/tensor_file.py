"""Files of ``torch.save``, opened without executing anything in them."""

from __future__ import annotations

import hashlib
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from utils.errors import CheckpointError, first_line


class UnsafeFileError(CheckpointError):
    """A file holds more than tensors and plain types, and was not opened."""


def read_tensors(path: Path) -> Any:
    """Read the tensors and plain types of a file of ``torch.save`` onto the CPU.

    Raises:
        CheckpointError: the file is missing or damaged, or holds anything but tensors and plain types (which is
            not executed).
    """
    require_content(path)
    try:
        archive = zipfile.is_zipfile(path)  # the format before torch 1.6 is none
        damaged = _damaged_record(path) if archive else None
        with warnings.catch_warnings():  # of pickles in other protocols, about which the error says enough
            warnings.simplefilter("ignore")
            state = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises almost anything on arbitrary bytes
        # torch has one class of error for code and for bytes that are no pickle of its own
        if isinstance(error, pickle.UnpicklingError) and (archive or "GLOBAL" in str(error)):
            raise UnsafeFileError(
                f"{path}: holds more than tensors and plain types, so it was not opened"
            ) from error
        told = isinstance(error, (RuntimeError, EOFError, OSError, zipfile.BadZipFile))
        reason = first_line(error) if told else "it is no file of torch.save, or damaged"
        raise CheckpointError(f"{path}: cannot be read as weights ({reason})") from error
    if damaged:
        raise CheckpointError(f"{path}: is damaged: {damaged} does not match its checksum")
    return state


def require_content(path: Path) -> None:
    """Raise a CheckpointError unless there is a file that may hold weights.

    Raises:
        CheckpointError: it is missing or empty, or a folder, or what a failed download leaves.
    """
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder, not a file")
    if not path.is_file():
        where = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise CheckpointError(f"{path}: no such file{where}")
    try:
        with path.open("rb") as file:
            start = file.read(512).lstrip().lower()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if not start:
        raise CheckpointError(f"{path}: is empty")
    if start.startswith((b"<!doctype", b"<html")):
        raise CheckpointError(f"{path}: is a web page, not a file of weights")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(2**22):
            digest.update(chunk)
    return digest.hexdigest()


def _damaged_record(path: Path) -> str | None:
    """Return the first record of a zip archive that differs from its checksum; torch itself compares none."""
    with zipfile.ZipFile(path) as archive:
        if not any(record.CRC for record in archive.infolist()):
            return None  # written with torch.serialization.set_crc32_options(False)
        return archive.testzip()
