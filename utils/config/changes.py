"""Changes of a config between a run and its continuation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_type_hints

from utils.config.annotations import may_change
from utils.config.factory import find, join, parameters_of
from utils.config.parse import section_in
from utils.config.sections import Experiment

_ABSENT = object()
# keys that act once, when a run starts, or that decide what its state consists of
_FIXED = {
    "name": "it names the run folder",
    "seed": "the run has drawn from it since it started",
    "init_from": "it acts when a run starts",
    "arch.type": "the weights are of the old one",
    "arch.args.pretrained": "it acts when a run starts",
    "optimizer.type": "the saved state is of the old one",
    "optimizer.differential_lr": "the saved parameter groups follow from it",
    "optimizer.layer_decay": "the saved parameter groups follow from it",
    "optimizer.no_decay_norm_bias": "the saved parameter groups follow from it",
}


def differences(old: Any, new: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """Return the JSON paths at which two configs differ, with both values (``None`` where one has none).

    An object that one of them lacks counts as empty.
    """
    if isinstance(old if new is _ABSENT else new, dict):
        old, new = ({} if value is _ABSENT else value for value in (old, new))
    if isinstance(old, dict) and isinstance(new, dict):
        found: dict[str, tuple[Any, Any]] = {}
        for key in dict.fromkeys([*old, *new]):
            found |= differences(old.get(key, _ABSENT), new.get(key, _ABSENT), join(path, key))
        return found
    if old == new and type(old) is type(new):
        return {}
    return {path: (None if old is _ABSENT else old, None if new is _ABSENT else new)}


def refused_changes(old: Mapping[str, Any], experiment: Experiment) -> dict[str, tuple[Any, Any]]:
    """Return the differences that make the rest of a run another experiment.

    An option may change where its annotation is marked so (:class:`utils.config.annotations.MayChange`).

    Args:
        old: plain values of the run's config.
        experiment: the config to continue with.
    """
    return {
        path: values
        for path, values in differences(old, experiment.plain).items()
        if not may_change(_annotation(path, experiment), path.partition(".")[0])
    }


def impossible_changes(changed: Iterable[str]) -> dict[str, str]:
    """Return the reason for each changed path that cannot take effect in a run that has started."""
    return {path: _FIXED[path] for path in changed if path in _FIXED}


def _annotation(path: str, experiment: Experiment) -> Any:
    """Return the annotation of the option at a JSON path; ``None`` for what is no option of its own."""
    section: type | None = Experiment
    keys = path.split(".")
    for position, key in enumerate(keys):
        if section is None:
            return None
        if key == "args" and position == 1 and len(keys) == 3:
            return _argument(keys[0], keys[2], experiment)
        annotation = get_type_hints(section, include_extras=True).get(key)
        section = section_in(annotation)
    return annotation


def _argument(section: str, name: str, experiment: Experiment) -> Any:
    """Return the annotation of an argument of the class that a section names."""
    component = getattr(experiment, section)
    if section not in experiment.catalogues or component is None:
        return None
    parameters = parameters_of(find(experiment.catalogues[section], component.type, section))
    return parameters[name].annotation if name in parameters else None
