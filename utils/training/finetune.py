"""Fine-tuning: load what fits of another checkpoint; the rest of the model stays as it was built."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from utils.dataset_info import DatasetInfo, Normalisation
from utils.errors import CheckpointError
from utils.run.checkpoint import load_any
from utils.run.names import place_of, strip_wrappers
from utils.run.state import is_arch

logger = logging.getLogger(__name__)

Rename = Callable[[Mapping[str, Tensor], Iterable[str]], dict[str, Tensor]]

_BACKBONES = ("backbone.", "network.encoder.")
_FOREIGN = (".safetensors", ".h5")
MINIMUM = 0.5  # share of the model's values that must be found
_OF_FILE = 0.25  # share of the file's values that a part of the model must take


class Transfer(NamedTuple):
    """Outcome for one tensor of the model.

    Attributes:
        name: name of the tensor.
        values: number of its values.
        loaded: number of values that were loaded.
        outcome: ``loaded``, ``rows by class``, ``another shape`` or ``not found``.
    """

    name: str
    values: int
    loaded: int
    outcome: str


class Brought(NamedTuple):
    """What came with the weights of ``init_from``.

    Attributes:
        normalisation: what they were trained with, where the file says so.
        published: they are those of a backbone without a segmentation head, as libraries publish them.
    """

    normalisation: Normalisation | None = None
    published: bool = False


def load_matching(
    model: nn.Module, checkpoint: Mapping[str, Any], info: DatasetInfo, rename: Rename | None = None
) -> list[Transfer]:
    """Load the tensors of a checkpoint that fit a model, and log a table of them.

    A tensor fits if its name and shape are equal. Where the classes differ, tensors with one row per class
    are matched by class name (in lower case); if both have equally many classes, every tensor with that many
    rows is. The averaged weights are preferred where the checkpoint has them. Weights of a network without a
    segmentation head are loaded into the part of the model that has their names, its backbone.

    Args:
        model: changed in place; unchanged on an error.
        checkpoint: a checkpoint of this project, any ``{"state_dict": ...}``, or a plain state dict; without
            class names, no rows are matched.
        info: the data set that the model is built for.
        rename: gives the weights of other programs the names of the model, whose names it gets too.

    Returns:
        One entry per tensor of the model.

    Raises:
        CheckpointError: it holds no weights, or less than half of the model's values are found.
    """
    weights = strip_wrappers(_weights(checkpoint))
    old_classes = _class_names(checkpoint.get("dataset"))
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if rename is not None:
        weights = rename(weights, state)
    part, weights = _placed(weights, state)
    table = [
        _transfer(name, tensor, weights.get(name), old_classes, info.classes)
        for name, tensor in state.items()
    ]
    counted = [t for t in table if t.name.startswith(part)]
    values, loaded = sum(t.values for t in counted), sum(t.loaded for t in counted)
    if loaded < MINIMUM * values:
        first = next(t.name for t in table if t.loaded < t.values)
        raise CheckpointError(
            f"init_from: only {loaded:,} of the model's {values:,} values are in the checkpoint (first missing: "
            f"{first}); it is of another architecture, for which arch.type and arch.args must be the same, or of "
            "a backbone alone, which some models take by arch.args.pretrained only"
        )
    model.load_state_dict(state)
    logger.info("%s", summarise(table, len(weights.keys() - state.keys())))
    return table


def _placed(weights: dict[str, Tensor], state: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """Give weights the names of the part of the model that they fit, if they fit no whole model.

    Returns:
        The prefix of the part, empty for a whole model, and the weights.
    """
    if _values(state, weights.keys() & state.keys()) >= MINIMUM * _values(state, state):
        return "", weights
    part, names = place_of(weights, state)
    size = _values(state, (name for name in state if name.startswith(part)))
    if not part or _values(state, names) < max(MINIMUM * size, _OF_FILE * _values(weights, weights)):
        return "", weights
    logger.info("init_from: the file has the weights of the model's part %s", part.rstrip("."))
    rest = {name: tensor for name, tensor in weights.items() if name not in set(names.values())}
    return part, {**rest, **{own: weights[name] for own, name in names.items()}}


def _values(tensors: Mapping[str, Tensor], names: Iterable[str]) -> int:
    """Return the number of values in the tensors of some names."""
    return sum(tensors[name].numel() for name in names)


def summarise(table: Sequence[Transfer], unused: int) -> str:
    """Format the totals, and a line for every tensor that was not loaded completely.

    Args:
        table: one entry per tensor of the model.
        unused: tensors of the checkpoint that the model has no place for.
    """
    values, loaded = sum(t.values for t in table), sum(t.loaded for t in table)
    complete = sum(t.outcome == "loaded" for t in table)
    lines = [
        f"init_from: {loaded:,} of {values:,} values ({loaded / max(values, 1):.1%}), {complete} of {len(table)} "
        f"tensors complete; {unused} tensors of the checkpoint not used"
    ]
    lines += [
        f"  {t.name:50} {t.outcome}: {t.loaded:,} of {t.values:,}" for t in table if t.outcome != "loaded"
    ]
    return "\n".join(lines)


def _weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    for candidate in (*(checkpoint.get(key) for key in ("ema", "model", "state_dict")), checkpoint):
        if isinstance(candidate, Mapping) and candidate:
            tensors = {k: v for k, v in candidate.items() if isinstance(v, Tensor)}
            if len(tensors) == len(candidate):
                return tensors
    raise CheckpointError("init_from: the file holds no weights (a state dict, or one under 'model')")


def _class_names(dataset: Any) -> tuple[str, ...]:
    """Return the class names in a checkpoint; empty for files of other programs, whatever they hold there."""
    names = dataset.get("classes") if isinstance(dataset, Mapping) else None
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        return ()
    return tuple(names)


def _transfer(
    name: str, own: Tensor, other: Tensor | None, old: Sequence[str], new: Sequence[str]
) -> Transfer:
    """Copy ``other`` into ``own`` as far as it fits."""
    if other is None:
        return Transfer(name, own.numel(), 0, "not found")
    per_class = own.ndim > 0 and len(own) == len(new) and bool(old) and tuple(old) != tuple(new)
    if own.shape == other.shape and not per_class:
        own.copy_(other)
        return Transfer(name, own.numel(), own.numel(), "loaded")
    loaded = _copy_rows(own, other, old, new)
    return Transfer(name, own.numel(), loaded, "rows by class" if loaded else "another shape")


def _copy_rows(own: Tensor, other: Tensor, old: Sequence[str], new: Sequence[str]) -> int:
    """Copy rows of equally named classes; return the number of values copied.

    A tensor has a row per class, or (a transposed convolution) a row and a column per class.
    """
    by_name = {label.lower(): i for i, label in enumerate(old)}
    pairs = [(i, by_name[label.lower()]) for i, label in enumerate(new) if label.lower() in by_name]
    if not pairs or own.ndim != other.ndim or not _is_per_class(own, other, old, new, axis=0):
        return 0
    targets, sources = torch.tensor(pairs).unbind(dim=1)
    if own.shape[1:] == other.shape[1:]:
        own[targets] = other[sources].to(own.dtype)
        return own[targets].numel()
    if own.shape[2:] == other.shape[2:] and _is_per_class(own, other, old, new, axis=1):
        block = other[sources][:, sources].to(own.dtype)
        own[targets[:, None], targets[None, :]] = block
        return block.numel()
    return 0


def _is_per_class(own: Tensor, other: Tensor, old: Sequence[str], new: Sequence[str], axis: int) -> bool:
    return own.ndim > axis and own.shape[axis] == len(new) and other.shape[axis] == len(old)


def start_from(
    path: str | None,
    model: nn.Module,
    info: DatasetInfo,
    names: Collection[str] = (),
    *,
    read: Callable[[Path], Any] | None = None,
    rename: Rename | None = None,
) -> Brought:
    """Load the weights of the config's ``init_from``, if it names a checkpoint.

    Args:
        path: the file.
        model: changed in place.
        info: the data set that the model is built for.
        names: names by which a checkpoint may call the class of the model, whose version is then compared.
        read: reads files that are not of torch; ``None`` refuses them.
        rename: as for :func:`load_matching`.

    Returns:
        What came with the weights; nothing without a path.

    Raises:
        CheckpointError: the file is unusable, or less than half of the model's values are in it.
    """
    if path is None:
        return Brought()
    if not path:
        raise CheckpointError("init_from: is empty; give a file, or leave it out")
    foreign = read is not None and Path(path).suffix in _FOREIGN
    try:
        checkpoint = read(Path(path)) if read is not None and foreign else load_any(path)
        table = load_matching(model, checkpoint, info, rename)
    except CheckpointError as error:
        reason = str(error).removeprefix("init_from: ").removeprefix(f"{path}: ")
        raise CheckpointError(f"init_from: {path}: {reason}") from error
    _compare_versions(model, checkpoint, names)
    loaded = [entry.name for entry in table if entry.loaded]
    facts = _normalisation(checkpoint)
    return Brought(facts, facts is None and all(name.startswith(_BACKBONES) for name in loaded))


def _normalisation(checkpoint: Mapping[str, Any]) -> Normalisation | None:
    facts = checkpoint.get("dataset")
    if not isinstance(facts, Mapping) or not {"mean", "std"} <= facts.keys():
        return None
    try:
        return Normalisation(tuple(facts["mean"]), tuple(facts["std"]))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"init_from: the normalisation in the file is malformed: {error}") from error


def _compare_versions(model: Any, checkpoint: Mapping[str, Any], names: Collection[str]) -> None:
    """Warn if the checkpoint is of the same class in another architecture version."""
    arch: Any = checkpoint.get("arch")
    if not is_arch(arch) or arch["type"] not in names:
        return
    name, version, newest = (
        arch["type"],
        checkpoint.get("architecture_version", 1),
        model.architecture_version,
    )
    if version == newest:
        return
    arguments, earlier = arch.get("args", {}), {}
    if version < newest:
        with suppress(ValueError):  # a form that can no longer be built
            earlier = type(model).arguments_of_version(version, arguments)
            if earlier == arguments:
                return  # what changed is not in this network
    changes = {key: value for key, value in earlier.items() if arguments.get(key) != value}
    remedy = f"; the network of the checkpoint is {json.dumps(changes)[1:-1]} in arch.args" if changes else ""
    logger.warning(
        "init_from: the checkpoint's %s is of architecture version %d, the model of version %d, so equal "
        "weights compute something else%s",
        name, version, newest, remedy,
    )  # fmt: skip
