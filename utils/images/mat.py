"""Label arrays of MATLAB files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import DataError


def read_mat(path: Path, *names: str) -> np.ndarray:
    """An array of integers (H, W) of a MATLAB file.

    Args:
        path: the file.
        names: name of the variable, then of the fields inside it.

    Returns:
        uint8, or int32 where the file stores more than 8 bits.

    Raises:
        DataError: the file is missing or damaged, or holds no such array.
    """
    import scipy.io

    try:
        value: Any = scipy.io.loadmat(path, squeeze_me=True, struct_as_record=True)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except Exception as error:  # scipy raises anything from struct.error to NotImplementedError
        raise DataError(f"{path}: is not a MATLAB file that can be read: {error}") from error
    try:
        for name in names:
            value = value[name]
            value = value[()] if isinstance(value, np.ndarray) and value.dtype.names else value
            value = value.item() if isinstance(value, np.ndarray) and value.dtype == object else value
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(f"{path}: has no '{'.'.join(names)}'") from error
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.dtype.kind not in "iubf":
        raise DataError(f"{path}: '{'.'.join(names)}' is no array (height, width) of numbers")
    if value.dtype.kind == "f" and (value != np.rint(value)).any():
        raise DataError(f"{path}: '{'.'.join(names)}' holds fractions, not class numbers")
    return value if value.dtype == np.uint8 else value.astype(np.int32)
