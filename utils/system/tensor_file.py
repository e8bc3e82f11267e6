"""Files of ``torch.save``, opened without executing anything in them."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from utils.errors import CheckpointError, first_line


def read_tensors(path: Path) -> Any:
    """Read the tensors and plain types of a file of ``torch.save`` onto the CPU.

    Raises:
        CheckpointError: the file is missing or damaged, or holds anything but tensors and plain types (which is
            not executed).
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        archive = zipfile.is_zipfile(path)  # the format before torch 1.6 is none
        damaged = _damaged_record(path) if archive else None
        state = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises almost anything on arbitrary bytes
        reason = _foreign(path) or f"cannot be read as weights ({first_line(error)})"
        if isinstance(error, pickle.UnpicklingError) and archive:
            reason = "holds more than tensors and plain types, so it was not opened"
        raise CheckpointError(f"{path}: {reason}") from error
    if damaged:
        raise CheckpointError(f"{path}: is damaged: {damaged} does not match its checksum")
    return state


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


def _foreign(path: Path) -> str | None:
    """Return what a failed download left instead of weights, where that is recognisable."""
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if not start:
        return "is empty"
    return "is a web page, not a file of weights" if start.startswith((b"<!doctype", b"<html")) else None
