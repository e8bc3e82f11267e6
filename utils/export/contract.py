"""What an exported model carries besides its network, and how its files are recognised.

An exported network takes ``images``, (N, in_channels, H, W) float32 of ``(value / 255 - mean) / std`` with
values of 0..255, for every N, H, W >= 1, and gives ``logits``, (N, classes, H, W) float32, unnormalised. A
network that decides on a coarser grid offers its logits on that grid too: ONNX as the output
``coarse_logits``, TorchScript as the method ``unfitted``. They cover the images padded to ``stride``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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
    """The format that a file's ending stands for; ``None`` for any other file, such as a checkpoint."""
    ending = Path(path).suffix.lower()
    return next((name for name, suffix in SUFFIXES.items() if suffix == ending), None)


@dataclass(frozen=True)
class ExportFacts:
    """What inference needs to know of an exported network.

    Attributes:
        info: classes, colours, normalisation, original ids.
        stride: the network pads its input to multiples of this.
        crop_size: side, or (height, width), of the training crop; ``None`` if it is not known.
        arch: ``type`` and ``args`` of the architecture.
        framework_version: of the program that wrote the file.
    """

    info: DatasetInfo
    stride: int
    crop_size: int | tuple[int, int] | None
    arch: Mapping[str, Any]
    framework_version: str = __version__

    def to_strings(self) -> dict[str, str]:
        """Name -> JSON, which every format can hold."""
        facts = {
            **self.info.to_plain(),
            "in_channels": self.info.in_channels,
            "stride": self.stride,
            "crop_size": self.crop_size,
            "arch": dict(self.arch),
            "framework_version": self.framework_version,
            "contract": CONTRACT,
        }
        return {name: json.dumps(value, ensure_ascii=False) for name, value in facts.items()}

    @classmethod
    def from_strings(cls, strings: Mapping[str, str], path: str | Path) -> ExportFacts:
        """The inverse of :meth:`to_strings`.

        Raises:
            CheckpointError: a fact is missing or malformed; ``path`` names the file.
        """
        wanted = ("classes", "palette", "mean", "std", "label_ids", "stride", "crop_size", "arch")
        missing = [name for name in wanted if name not in strings]
        if missing:
            raise CheckpointError(
                f"{path}: carries no {', '.join(missing)}; only models written by export.py can be used here"
            )
        try:
            facts = {name: json.loads(strings[name]) for name in wanted}
            crop = facts["crop_size"]
            return cls(
                DatasetInfo.from_plain(facts),
                int(facts["stride"]),
                (int(crop[0]), int(crop[1])) if isinstance(crop, list) else crop,
                dict(facts["arch"]),
                json.loads(strings.get("framework_version", '""')),
            )
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise CheckpointError(f"{path}: what it carries of its classes is malformed: {error}") from error
