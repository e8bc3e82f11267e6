"""A folder of images and masks that the data set ``Folder`` trains on, filled by a job that can be continued."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from utils.dataset_info import IGNORE_INDEX, DatasetInfo
from utils.errors import ConfigError, StorageError
from utils.inference.outputs import ImagePrediction, ResultWriter, with_suffix
from utils.run.checkpoint import link_or_copy
from utils.system.files import write_atomically

RECORD = "pseudo_labels.json"


class TrainingFolder:
    """Pairs ``images/PART/NAME.EXT`` and ``masks/PART/NAME.png``, and a record of how the masks were made.

    Images are hard links, or copies where the file system has none. A pair that exists is never written again.

    Args:
        path: a new or empty folder, or one that was filled with the same settings.
        info: classes and colours of the masks.
        settings: plain values that the masks follow from.

    Raises:
        ConfigError: the folder holds something else, or masks made with other settings.
        StorageError: it cannot be written.
    """

    def __init__(self, path: Path, info: DatasetInfo, settings: Mapping[str, Any]) -> None:
        self.path, self.info = path, info
        self.record = self._open(json.loads(json.dumps(settings)))
        self._masks = ResultWriter(path / "masks", info, ("mask",))

    def image_path(self, name: PurePath, suffix: str) -> Path:
        """Return the place of an image; ``name`` may contain dots."""
        return self.path / "images" / name.with_name(name.name + suffix)

    def mask_path(self, name: PurePath) -> Path:
        """Return the place of a mask."""
        return self._masks.folder / with_suffix(name, "mask")

    def holds(self, name: PurePath, suffix: str) -> bool:
        """Return whether a pair is complete."""
        return self.mask_path(name).is_file() and self.image_path(name, suffix).is_file()

    def add(self, name: PurePath, image: Path, mask: np.ndarray) -> None:
        """Write a pair; what it has already stays.

        Args:
            name: PART/NAME, perhaps with folders.
            image: the file.
            mask: (H, W) uint8 class indices, 255 = void.

        Raises:
            StorageError: it cannot be written.
        """
        if not self.mask_path(name).is_file():
            self._masks.write(name, mask, ImagePrediction(mask))
        target = self.image_path(name, image.suffix)
        if not target.is_file():  # after the mask: an image without one would be refused
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError(f"{target.parent}: cannot be created ({error.strerror})") from error
            link_or_copy(image.resolve(), target)

    def note(self, **facts: Any) -> None:
        """Add plain values to the record.

        Raises:
            StorageError: it cannot be written.
        """
        self.record |= facts
        text = json.dumps(self.record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_atomically(self.path / RECORD, lambda file: file.write(text.encode()))

    def section(self, kept: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ``train_loader`` of a config that trains on all pairs.

        Args:
            kept: further arguments, such as the batch size and the augmentation.
        """
        arguments = {
            "data_dir": str(self.path.resolve()),
            "classes": list(self.info.classes),
            "images": "images/**/*",
            "masks": "masks/**/*",
            "void": [IGNORE_INDEX],
            "colors": [list(colour) for colour in self.info.palette],
            "channels": self.info.in_channels,
        }
        return {"type": "Folder", "args": {**arguments, **kept}}

    def _open(self, settings: dict[str, Any]) -> dict[str, Any]:
        file = self.path / RECORD
        if not file.is_file():
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise ConfigError(f"--output {self.path}: holds other files; name a new folder")
            self.record = {}
            self.note(settings=settings)
            return self.record
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            before = dict(record["settings"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{file}: cannot be read as the record of a folder: {error!r}") from error
        changed = [key for key in {**before, **settings} if before.get(key) != settings.get(key)]
        if changed:
            key = changed[0]
            raise ConfigError(
                f"--output {self.path}: was filled with other settings ({key}: {_short(before.get(key))}, now "
                f"{_short(settings.get(key))}); name a new folder"
            )
        return dict(record)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
