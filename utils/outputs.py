"""Writes masks and pictures so that a file is either whole or not there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.dataset_info import DatasetInfo
from utils.errors import StorageError
from utils.lazy import lazy_import
from utils.visualize import colour_table

if TYPE_CHECKING:
    from PIL import Image
else:
    Image = lazy_import("PIL.Image")


def save_mask(label: np.ndarray, info: DatasetInfo, path: Path) -> None:
    """Write class indices as a PNG whose palette shows them in the data set's colours.

    Args:
        label: (H, W) uint8.
        info: the colours.
        path: the file; its folder is made.

    Raises:
        StorageError: it cannot be written.
    """
    picture = Image.fromarray(label)
    picture.putpalette(colour_table(info).reshape(-1).tolist())
    _save(picture, path)


def save_picture(picture: np.ndarray, path: Path) -> None:
    """Write an (H, W, 3) uint8 picture as PNG; see :func:`save_mask`."""
    _save(Image.fromarray(picture), path)


def _save(picture: Any, path: Path) -> None:
    temporary = path.with_name(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(temporary, format="PNG")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(f"{path}: cannot be written ({error.strerror or error})") from error
