"""Writes what inference finds: index masks, overlays, probabilities; each file whole or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import BinaryIO

import numpy as np
from PIL import Image

from utils.dataset_info import DatasetInfo, colour_table
from utils.errors import ConfigError, StorageError
from utils.images.draw import colour_mask, overlay
from utils.inference.inputs import ImageFile
from utils.system.files import write_atomically

# what each kind of output appends to the name of an image
SUFFIXES = {
    "mask": ".png",
    "colour": ".colour.png",
    "overlay": ".overlay.jpg",
    "ids": ".ids.png",
    "probabilities": ".npz",
    "disagreement": ".disagreement.png",
}


@dataclass
class Result:
    """What was found for one image.

    Attributes:
        mask: (H, W) uint8 class indices.
        probabilities: (C, H, W) float16, where asked for.
        disagreement: (H, W) uint8, where asked for: 0 all members agree, 255 none does.
    """

    mask: np.ndarray
    probabilities: np.ndarray | None = None
    disagreement: np.ndarray | None = None


def name_outputs(images: Sequence[ImageFile], kinds: Sequence[str]) -> list[PurePath]:
    """A name for the outputs of every image: its relative folder and stem, unique.

    Images that share folder and stem (``a.jpg``, ``a.png``) keep their ending: ``a_jpg``, ``a_png``.

    Args:
        images: the inputs.
        kinds: keys of :data:`SUFFIXES`.

    Raises:
        ConfigError: two files would still be written to one place.
    """
    plain = [image.relative.with_name(image.relative.stem) for image in images]
    shared = Counter(plain)
    names = [
        image.relative.with_name(f"{image.relative.stem}_{image.relative.suffix.lstrip('.')}")
        if shared[name] > 1
        else name
        for image, name in zip(images, plain, strict=True)
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
    """The file of one kind of output; ``name`` may contain dots."""
    return name.with_name(name.name + SUFFIXES[kind])


class ResultWriter:
    """Writes the outputs of images into a folder.

    Args:
        folder: where; made if missing.
        info: classes, palette, original ids.
        kinds: keys of :data:`SUFFIXES`.

    Raises:
        StorageError: the folder cannot be made.
        ConfigError: original ids are asked for and the data set has none.
    """

    def __init__(self, folder: Path, info: DatasetInfo, kinds: Sequence[str]) -> None:
        if "ids" in kinds and not info.label_ids:
            raise ConfigError("--original-ids: the class indices of this data set are its original ids")
        self.folder = folder
        self.info = info
        self.kinds = tuple(kinds)
        self._palette = colour_table(info).tobytes()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{folder}: cannot be made ({error.strerror})") from error

    def is_complete(self, name: PurePath) -> bool:
        """Whether every output of an image is there."""
        return all((self.folder / with_suffix(name, kind)).is_file() for kind in self.kinds)

    def write(self, name: PurePath, image: np.ndarray, result: Result) -> None:
        """Write every kind of output of one image.

        Args:
            name: from :func:`name_outputs`.
            image: (H, W, C) uint8.
            result: what was found.

        Raises:
            StorageError: the disk is full or the folder cannot be written.
        """
        for kind in self.kinds:
            save = partial(getattr(self, f"_save_{kind}"), image=image, result=result)
            write_atomically(self.folder / with_suffix(name, kind), save)

    def _save_mask(self, file: BinaryIO, image: np.ndarray, result: Result) -> None:
        picture = Image.fromarray(result.mask)
        picture.putpalette(self._palette)
        picture.save(file, "PNG")

    def _save_colour(self, file: BinaryIO, image: np.ndarray, result: Result) -> None:
        Image.fromarray(colour_mask(result.mask, self.info)).save(file, "PNG")

    def _save_overlay(self, file: BinaryIO, image: np.ndarray, result: Result) -> None:
        Image.fromarray(overlay(image, result.mask, self.info)).save(file, "JPEG", quality=92)

    def _save_ids(self, file: BinaryIO, image: np.ndarray, result: Result) -> None:
        Image.fromarray(original_ids(result.mask, self.info)).save(file, "PNG")

    def _save_probabilities(self, file: BinaryIO, image: np.ndarray, result: Result) -> None:
        assert result.probabilities is not None
        np.savez_compressed(file, probabilities=result.probabilities, classes=np.array(self.info.classes))

    def _save_disagreement(self, file: BinaryIO, image: np.ndarray, result: Result) -> None:
        assert result.disagreement is not None
        Image.fromarray(result.disagreement).save(file, "PNG")


def original_ids(mask: np.ndarray, info: DatasetInfo) -> np.ndarray:
    """Class indices as the data set's own ids, uint8 or uint16; void becomes 0.

    Args:
        mask: (H, W) uint8.
        info: with ``label_ids``.
    """
    kind = np.uint8 if max(info.label_ids) < 256 else np.uint16
    table = np.zeros(256, dtype=kind)
    table[: info.num_classes] = info.label_ids
    return table[mask]
