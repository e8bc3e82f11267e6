"""Translation of an older config form, ``"smp": true``, into the normal form."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.errors import ConfigError

_KNOWN = (
    "type",
    "backbone",
    "weights",
    "data_dir",
    "classes",
    "epochs",
    "batch_size",
    "image_size",
    "device",
)
# what lies in data_dir of some data sets, enough to recognise them
_LAYOUTS = {
    "CamVid": ("train", "trainannot"),
    "Carvana": ("train", "train_masks"),
    "CityScapes": ("leftImg8bit",),
    "Meter": ("images/train", "annotations/train"),
    "TianChi": ("train", "train_mask.csv"),
}


def translate(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Turn ``"smp": true`` and ``"smp_args"`` into an ``SMP`` model in a normal config.

    ``type``, ``backbone`` and ``weights`` become ``arch``; ``data_dir``, ``batch_size`` and ``image_size``
    become arguments of the loaders; ``epochs`` becomes ``trainer.epochs``. In this form ``smp_args`` says which
    data is used: the loader of another data set than ``data_dir`` holds is replaced by that of the data.
    ``classes`` comes from the data set and ``device`` from the command line, so both are only named.

    Args:
        config: a config; not changed.

    Returns:
        The normal config, and one line per thing that was translated (none for a normal config).

    Raises:
        ConfigError: ``smp`` is true and ``smp_args`` is not an object with a ``type``, or has unknown keys.
    """
    result = copy.deepcopy(dict(config))
    enabled, old = result.pop("smp", False), result.pop("smp_args", None)
    if not isinstance(enabled, bool):
        raise ConfigError("smp: expected true or false")
    if not enabled:
        return result, (["smp_args: ignored, as smp is not true"] if old is not None else [])
    _check(old)
    arch = {"architecture": old["type"], "encoder_weights": old.get("weights")}
    if "backbone" in old:
        arch["encoder_name"] = old["backbone"]
    result["arch"] = {"type": "SMP", "args": arch}
    given = {key: value for key, value in old.items() if value is not None}
    lines = [f"smp: true became arch: {result['arch']}", *_move_values(result, given)]
    if "classes" in given:
        lines.append("smp_args.classes: left out; the number of classes is the data set's")
    if "device" in given:
        lines.append(f"smp_args.device: left out; use --device {given['device']}")
    return result, lines


def _move_values(result: dict[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Put values where a normal config has them; return one line for each."""
    lines = []
    for key, name in (("data_dir", "data_dir"), ("batch_size", "batch_size"), ("image_size", "crop_size")):
        if key in given:
            lines += [
                _set(result, loader, name, given[key], key) for loader in ("train_loader", "val_loader")
            ]
    if isinstance(given.get("data_dir"), str):
        lines += [_fit_type(result, loader, given["data_dir"]) for loader in ("train_loader", "val_loader")]
    if "epochs" in given:
        result.setdefault("trainer", {})["epochs"] = given["epochs"]
        lines.append(f"smp_args.epochs became trainer.epochs: {given['epochs']}")
    return [line for line in lines if line]


def _check(old: Any) -> None:
    if not isinstance(old, Mapping) or not isinstance(old.get("type"), str):
        raise ConfigError("smp_args.type: missing; with smp: true it names the architecture, such as 'Unet'")
    problems = [
        f"smp_args.{key}: not known; it takes: {', '.join(_KNOWN)}" for key in old if key not in _KNOWN
    ]
    if problems:
        raise ConfigError(problems)


def _set(config: dict[str, Any], loader: str, name: str, value: Any, key: str) -> str:
    section = config.get(loader)
    if not isinstance(section, dict):
        return ""  # reported as missing by the normal check
    args = section.setdefault("args", {})
    if not isinstance(args, dict):
        return ""
    args[name] = value
    return f"smp_args.{key} became {loader}.args.{name}: {value}"


def _fit_type(config: dict[str, Any], loader: str, data_dir: str) -> str:
    """Replace the data set of a loader where the folder holds another one, and only one; return a line for it."""
    section = config.get(loader)
    given = section.get("type") if isinstance(section, dict) else None
    holds = [name for name, parts in _LAYOUTS.items() if all(Path(data_dir, part).exists() for part in parts)]
    if not isinstance(section, dict) or given not in _LAYOUTS or given in holds or len(holds) != 1:
        return ""
    section["type"] = holds[0]
    return f"smp_args.data_dir holds {holds[0]}, not {given}: {loader}.type became {holds[0]}"
