"""Contract of exported models: formats, inputs, outputs, and the facts that a file carries.

An exported network takes ``images``, (N, in_channels, H, W) float32 of ``(value / 255 - mean) / std`` with
values of 0..255, for every N, H, W >= 1, and returns ``logits``, (N, classes, H, W) float32, unnormalised. A
network with logits on a coarser grid returns those too: ONNX as the output ``coarse_logits``, TorchScript from
the method ``unfitted``. They cover the images padded to ``stride``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils import __version__
from utils.dataset_info import DatasetInfo
from utils.errors import CheckpointError

SUFFIXES = {"onnx": ".onnx", "torchscript": ".torchscript", "torch-export": ".pt2"}
INPUT, OUTPUT, COARSE = "images", "logits", "coarse_logits"
CONTRACT = (
    "images: float32 (N, in_channels, H, W), (value / 255 - mean) / std; logits: float32 (N, classes, H, W)"
)


def exported_format(path: str | Path) -> str | None:
    """Return the format of a file by its ending; ``None`` for any other file, such as a checkpoint."""
    ending = Path(path).suffix.lower()
    return next((name for name, suffix in SUFFIXES.items() if suffix == ending), None)


@dataclass(frozen=True)
class ExportFacts:
    """Facts about an exported network that inference needs.

    Attributes:
        info: classes, colours, normalisation and original ids.
        stride: the network pads its input to multiples of this.
        crop_size: side, or (height, width), of the training crop in pixels; ``None`` if unknown.
        arch: ``type`` and ``args`` of the architecture.
        framework_version: version of the program that wrote the file.
        flip: whether training mirrored images; ``None`` if unknown.
        flip_pairs: class names that a mirror image exchanges.
        architecture_version: of the architecture, as its checkpoint records it; ``None`` if unknown.
    """

    info: DatasetInfo
    stride: int
    crop_size: int | tuple[int, int] | None
    arch: Mapping[str, Any]
    framework_version: str = __version__
    flip: bool | None = None
    flip_pairs: Sequence[Sequence[str]] = ()
    architecture_version: int | None = None

    def to_strings(self) -> dict[str, str]:
        """Map every name to JSON text, which all formats can hold."""
        facts = {
            **self.info.to_plain(),
            "in_channels": self.info.in_channels,
            "stride": self.stride,
            "crop_size": self.crop_size,
            "arch": dict(self.arch),
            "architecture_version": self.architecture_version,
            "framework_version": self.framework_version,
            "flip": self.flip,
            "flip_pairs": [list(pair) for pair in self.flip_pairs],
            "contract": CONTRACT,
        }
        return {name: json.dumps(value, ensure_ascii=False) for name, value in facts.items()}

    @classmethod
    def from_strings(cls, strings: Mapping[str, str], path: str | Path) -> ExportFacts:
        """Read the facts that :meth:`to_strings` wrote.

        Args:
            strings: name -> JSON.
            path: file to name in an error.

        Raises:
            CheckpointError: a fact is missing or malformed.
        """
        wanted = ("classes", "palette", "mean", "std", "label_ids", "stride", "crop_size", "arch")
        missing = [name for name in wanted if name not in strings]
        if missing:
            raise CheckpointError(
                f"{path}: carries no {', '.join(missing)}; only models written by export.py can be used here"
            )
        try:
            facts = {name: json.loads(strings[name]) for name in wanted}
            _check_numbers(facts["stride"], facts["crop_size"])
            return cls(
                DatasetInfo.from_plain(facts),
                facts["stride"],
                _as_crop_size(facts["crop_size"]),
                dict(facts["arch"]),
                json.loads(strings.get("framework_version", '""')),
                json.loads(strings.get("flip", "null")),
                tuple(map(tuple, json.loads(strings.get("flip_pairs", "[]")))),
                _as_version(json.loads(strings.get("architecture_version", "null"))),
            )
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise CheckpointError(f"{path}: the facts in the file are malformed: {error}") from error


def _check_numbers(stride: Any, crop: Any) -> None:
    """Raise ValueError for a stride or a crop size of another type, or out of range."""
    if type(stride) is not int or not 1 <= stride <= 4096:
        raise ValueError(f"stride: expected a whole number of 1 to 4096, got {stride!r}")
    sides = crop if isinstance(crop, list) else [crop]
    whole = len(sides) in (1, 2) and all(type(side) is int and side > 0 for side in sides)
    if crop is not None and not whole:
        raise ValueError(f"crop_size: expected one or two whole numbers, got {crop!r}")


def _as_version(version: Any) -> int | None:
    """Return an architecture version; raise ValueError for anything else."""
    if version is not None and (type(version) is not int or version < 1):
        raise ValueError(f"architecture_version: expected a whole number from 1 on, got {version!r}")
    return version


def _as_crop_size(crop: Any) -> Any:
    return (crop[0], crop[-1]) if isinstance(crop, list) else crop
