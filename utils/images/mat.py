"""Label arrays of MATLAB files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import DataError, first_line


def read_mat(path: Path, *names: str) -> np.ndarray:
    """Read an array of integers from a MATLAB file.

    Args:
        path: the file.
        names: name of the variable, then of the fields inside it.

    Returns:
        (H, W) uint8, or int32 where the file stores another type.

    Raises:
        DataError: the file is missing or damaged, or holds no such array.
    """
    array, name = _find(_load(path), names, path), ".".join(names)
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "iubf":
        raise DataError(
            f"{path}: '{name}' is not an array (height, width) of numbers", kind="unsuitable", paths=[path]
        )
    if array.dtype.kind == "f" and (array != np.rint(array)).any():
        raise DataError(
            f"{path}: '{name}' holds fractions, not class numbers", kind="unsuitable", paths=[path]
        )
    return array if array.dtype == np.uint8 else array.astype(np.int32)


def _load(path: Path) -> Any:
    """Return the variables of a file by name."""
    import scipy.io

    try:
        # of a missing file given as a Path scipy says that it needs a file name
        return scipy.io.loadmat(str(path), appendmat=False, squeeze_me=True, struct_as_record=True)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file", kind="missing", paths=[path]) from error
    except Exception as error:  # scipy raises anything from struct.error to NotImplementedError
        raise DataError(
            f"{path}: is not a MATLAB file that can be read: {first_line(error)}",
            kind="unreadable",
            paths=[path],
        ) from error


def _find(value: Any, names: tuple[str, ...], path: Path) -> Any:
    """Follow the names from one structure to the next, through the arrays that scipy wraps them in."""
    try:
        for name in names:
            value = value[name]
            value = value[()] if isinstance(value, np.ndarray) and value.dtype.names else value
            value = value.item() if isinstance(value, np.ndarray) and value.dtype == object else value
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(f"{path}: has no '{'.'.join(names)}'", kind="unsuitable", paths=[path]) from error
    return value
