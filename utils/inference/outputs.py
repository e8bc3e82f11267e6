"""Outputs of inference on disk: index masks, overlays, probabilities; each file is written atomically."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO

import numpy as np
from PIL import Image

from utils.dataset_info import DatasetInfo, colour_table
from utils.errors import ConfigError, StorageError
from utils.images.draw import colour_mask, overlay
from utils.inference.inputs import ImageFile
from utils.system.files import write_atomically

# kind of output -> suffix appended to the name of an image
SUFFIXES = {
    "mask": ".png",
    "colour": ".colour.png",
    "overlay": ".overlay.jpg",
    "ids": ".ids.png",
    "probabilities": ".npz",
    "disagreement": ".disagreement.png",
}


@dataclass
class ImagePrediction:
    """The prediction for one image.

    Attributes:
        mask: (H, W) uint8 class indices.
        probabilities: (C, H, W) float16, where asked for.
        disagreement: (H, W) uint8, where asked for: 255 times the share of members that chose another class.
    """

    mask: np.ndarray
    probabilities: np.ndarray | None = None
    disagreement: np.ndarray | None = None


def name_outputs(images: Sequence[ImageFile], kinds: Sequence[str]) -> list[PurePath]:
    """Name the outputs of every image: its relative folder and stem, unique.

    Images that share folder and stem (``a.jpg``, ``a.png``) keep their extension: ``a_jpg``, ``a_png``.

    Args:
        images: the inputs.
        kinds: keys of :data:`SUFFIXES`.

    Raises:
        ConfigError: two images would still be written to the same file.
    """
    stems = [image.relative.with_name(image.relative.stem) for image in images]
    shared = Counter(stems)
    names = [
        image.relative.with_name(f"{image.relative.stem}_{image.relative.suffix.lstrip('.')}")
        if shared[stem] > 1
        else stem
        for image, stem in zip(images, stems, strict=True)
    ]
    taken: dict[PurePath, Path] = {}
    for image, name in zip(images, names, strict=True):
        for kind in kinds:
            file = with_suffix(name, kind)
            if file in taken:
                raise ConfigError(
                    f"{taken[file]} and {image.path} would both be written to {file}; rename one"
                )
            taken[file] = image.path
    return names


def with_suffix(name: PurePath, kind: str) -> PurePath:
    """Return the file of one kind of output; ``name`` may contain dots."""
    return name.with_name(name.name + SUFFIXES[kind])


class ResultWriter:
    """Writes the outputs of images into a folder.

    Args:
        folder: output folder, created if missing.
        info: classes, palette, original ids.
        kinds: keys of :data:`SUFFIXES`.

    Raises:
        StorageError: the folder cannot be created.
        ConfigError: original ids are asked for and the data set has none.
    """

    def __init__(self, folder: Path, info: DatasetInfo, kinds: Sequence[str]) -> None:
        if "ids" in kinds and not info.label_ids:
            raise ConfigError("--original-ids: the class indices of this data set are its original ids")
        self.folder = folder
        self.info = info
        self.kinds = tuple(kinds)
        self._palette = colour_table(info).tobytes()
        self._save: dict[str, Callable[[BinaryIO, np.ndarray, ImagePrediction], None]] = {
            "mask": self._save_mask,
            "colour": self._save_colour,
            "overlay": self._save_overlay,
            "ids": self._save_ids,
            "probabilities": self._save_probabilities,
            "disagreement": self._save_disagreement,
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{folder}: cannot be created ({error.strerror})") from error

    def is_complete(self, name: PurePath) -> bool:
        """Check that every output of an image exists."""
        return all((self.folder / with_suffix(name, kind)).is_file() for kind in self.kinds)

    def write(self, name: PurePath, image: np.ndarray, prediction: ImagePrediction) -> None:
        """Write every kind of output of one image.

        Args:
            name: from :func:`name_outputs`.
            image: (H, W, C) uint8.
            prediction: of the image.

        Raises:
            StorageError: the disk is full or the folder cannot be written.
        """
        for kind in self.kinds:
            self._write_kind(kind, name, image, prediction)

    def _write_kind(self, kind: str, name: PurePath, image: np.ndarray, prediction: ImagePrediction) -> None:
        write_atomically(
            self.folder / with_suffix(name, kind), lambda file: self._save[kind](file, image, prediction)
        )

    def _save_mask(self, file: BinaryIO, image: np.ndarray, prediction: ImagePrediction) -> None:
        mask = Image.fromarray(prediction.mask)
        mask.putpalette(self._palette)
        mask.save(file, "PNG")

    def _save_colour(self, file: BinaryIO, image: np.ndarray, prediction: ImagePrediction) -> None:
        Image.fromarray(colour_mask(prediction.mask, self.info)).save(file, "PNG")

    def _save_overlay(self, file: BinaryIO, image: np.ndarray, prediction: ImagePrediction) -> None:
        Image.fromarray(overlay(image, prediction.mask, self.info)).save(file, "JPEG", quality=92)

    def _save_ids(self, file: BinaryIO, image: np.ndarray, prediction: ImagePrediction) -> None:
        Image.fromarray(original_ids(prediction.mask, self.info)).save(file, "PNG")

    def _save_probabilities(self, file: BinaryIO, image: np.ndarray, prediction: ImagePrediction) -> None:
        assert prediction.probabilities is not None
        np.savez_compressed(file, probabilities=prediction.probabilities, classes=np.array(self.info.classes))

    def _save_disagreement(self, file: BinaryIO, image: np.ndarray, prediction: ImagePrediction) -> None:
        assert prediction.disagreement is not None
        Image.fromarray(prediction.disagreement).save(file, "PNG")


def original_ids(mask: np.ndarray, info: DatasetInfo) -> np.ndarray:
    """Turn class indices into the data set's own ids; void becomes 0.

    Args:
        mask: (H, W) uint8.
        info: with ``label_ids``.

    Returns:
        (H, W) uint8, or uint16 where an id is above 255.
    """
    dtype = np.uint8 if max(info.label_ids) < 256 else np.uint16
    table = np.zeros(256, dtype=dtype)
    table[: info.num_classes] = info.label_ids
    ids: np.ndarray = table[mask]
    return ids
