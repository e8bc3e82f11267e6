"""Schema of a checkpoint's state: the type and the range of each entry, compared when a file is opened."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from utils.dataset_info import DatasetInfo
from utils.errors import CheckpointError

_LARGEST = 2**53  # counters beyond it are damage, and floats no longer hold them


class _Entry(NamedTuple):
    """One entry of the state: the words for a right value, and the test for one."""

    expected: str
    fits: Callable[[Any], bool]


def check_state(state: Mapping[str, Any], path: Path) -> None:
    """Compare a checkpoint with the schema; entries unknown to it pass, and so do entries that are missing.

    A state to resume from (one with an optimizer and random states) has every entry of a run.

    Raises:
        CheckpointError: an entry has another type or is out of range; the message names it.
    """
    _check_complete(state, path)
    for name, (expected, fits) in _SCHEMA.items():
        if name in state and not fits(state[name]):
            raise CheckpointError(f"{path}: {name}: expected {expected}, got {_show(state[name])}")
    if "dataset" in state:
        try:
            DatasetInfo.from_plain(state["dataset"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: holds no complete model: dataset: {error!r}") from error
    if "step" in state and state["step"] > state.get("iters_per_epoch", _LARGEST):
        raise CheckpointError(
            f"{path}: step: {state['step']} of {state['iters_per_epoch']} batches of an epoch"
        )


def _check_complete(state: Mapping[str, Any], path: Path) -> None:
    missing = [name for name in _OF_A_RUN if name not in state]
    if "optimizer" in state and "rng" in state and missing:
        raise CheckpointError(f"{path}: is no complete state of a run: {', '.join(missing)} missing")


def is_crop_size(value: Any) -> bool:
    """Return whether a value is the side, or (height, width), of a training crop, or ``None``."""
    sides = value if isinstance(value, (list, tuple)) and len(value) == 2 else [value]
    return value is None or all(_is_count(side) and 0 < side <= 2**20 for side in sides)


def is_arch(value: Any) -> bool:
    """Return whether a value has the form ``{"type": ..., "args": {...}}``."""
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("type"), str)
        and isinstance(value.get("args", {}), Mapping)
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST


def _is_positive(value: Any) -> bool:
    return _is_count(value) and value >= 1


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and not math.isnan(value)


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _is_weights(value: Any) -> bool:
    return _is_object(value) and bool(value) and all(isinstance(item, Tensor) for item in value.values())


def _is_optimizer(value: Any) -> bool:
    return (
        _is_object(value)
        and isinstance(value.get("state"), Mapping)
        and _is_groups(value.get("param_groups"))
    )


def _is_groups(value: Any) -> bool:
    return isinstance(value, list) and all(_is_object(group) and "params" in group for group in value)


def _is_monitor(value: Any) -> bool:
    if not _is_object(value) or not {"best", "best_epoch", "not_improved"} <= value.keys():
        return False
    best = value["best"] is None or _is_number(value["best"])
    epoch = value["best_epoch"] is None or _is_count(value["best_epoch"])
    return best and epoch and _is_count(value["not_improved"])


def _is_rng(value: Any) -> bool:
    if not _is_object(value) or not {"python", "numpy", "torch", "cuda"} <= value.keys():
        return False
    python, numpy, cuda = value["python"], value["numpy"], value["cuda"]
    return (
        isinstance(python, (list, tuple)) and len(python) == 3 and isinstance(python[1], (list, tuple))
        and isinstance(numpy, (list, tuple)) and len(numpy) == 5 and isinstance(numpy[1], Tensor)
        and isinstance(value["torch"], Tensor)
        and isinstance(cuda, (list, tuple)) and all(isinstance(item, Tensor) for item in cuda)
    )  # fmt: skip


def _is_teacher(value: Any) -> bool:
    return _is_object(value) and all(isinstance(value.get(key), str) for key in ("model", "sha256"))


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _show(value: Any) -> str:
    text = repr(value) if isinstance(value, (str, int, float, type(None))) else f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


_COUNT = _Entry("a whole number, at least 0", _is_count)
_OBJECT = _Entry("an object", _is_object)
_SCHEMA: dict[str, _Entry] = {
    "model": _Entry("tensors by name", _is_weights),
    "ema": _Entry("tensors by name, or None", _or_none(_is_weights)),
    "arch": _Entry('an object {"type": ..., "args": {...}}', is_arch),
    "architecture_version": _Entry("a whole number, at least 1", _is_positive),
    "config": _OBJECT,
    "teacher": _Entry("the path and the SHA-256 of the teacher's file", _is_teacher),
    "dataset": _OBJECT,
    "crop_size": _Entry("a side, or height and width, in pixels, or None", is_crop_size),
    "epoch": _Entry("a whole number, at least 1", _is_positive),
    "step": _COUNT,
    "iters_per_epoch": _COUNT,
    "global_step": _COUNT,
    "ema_updates": _COUNT,
    "swa_epoch": _COUNT,
    "optimizer": _Entry("the state of an optimizer", _is_optimizer),
    "lr_scheduler": _OBJECT,
    "scaler": _OBJECT,
    "monitor": _Entry("the best figure, its epoch and the validations since", _is_monitor),
    "confusion": _Entry("the state of the metrics", lambda value: isinstance(value, (Mapping, Tensor))),
    "losses": _Entry("the state of the losses", lambda value: isinstance(value, (Mapping, Tensor))),
    "metrics": _Entry("an object, or None", _or_none(_is_object)),
    "rng": _Entry("the states of the random generators", _is_rng),
}
_OPTIONAL = ("arch", "architecture_version", "config", "crop_size", "dataset", "swa_epoch", "teacher")
_OF_A_RUN = [name for name in _SCHEMA if name not in _OPTIONAL]
