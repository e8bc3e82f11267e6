"""The samples of a data set, the keys that a sampler asks for, and the check of an image against its label."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from utils.augment.warp import Size
from utils.errors import DataError
from utils.images.header import exif_orientation, image_size


class Sample(NamedTuple):
    """One pair on disk.

    Attributes:
        image_id: name of the pair, unique in the data set.
        image: the image file.
        mask: the mask file; ``None`` where a split has no labels.
        group: name of the group; images of one (one car, one video) stay in one part of a split.
    """

    image_id: str
    image: Path
    mask: Path | None
    group: str = ""


class SampleKey(NamedTuple):
    """A sample in an epoch, which decides how it is augmented.

    Attributes:
        epoch: number of the epoch.
        index: number of the sample. From the length of the data set on, another pass over the samples
            begins, with other random draws.
    """

    epoch: int
    index: int  # type: ignore[assignment]


def fingerprint(files: Sequence[Sample], start: str) -> str:
    """Return a digest of ``start`` and of the names, sizes and times of all files."""
    digest = hashlib.sha256(start.encode())
    for sample in files:
        for path in (sample.image, sample.mask):
            if path is not None:
                status = path.stat()
                digest.update(f"{path.absolute()} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def sizes_of(files: Sequence[Sample]) -> list[Size | None]:
    """Return (height, width) of each image from its header; ``None`` where the header cannot be read."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(_size_of, files))


def _size_of(sample: Sample) -> Size | None:
    try:
        return image_size(sample.image)
    except DataError:  # of a format of the data set's own, or damaged, which is reported when it is read
        return None


def given_options(
    constructor: Callable[..., None], args: Sequence[Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a constructor call by name, with its defaults.

    Args:
        constructor: takes ``self`` first.
        args: positional arguments, without ``self``.
        options: keyword arguments.
    """
    parameters = list(inspect.signature(constructor).parameters.values())[1:]
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    defaults = {p.name: p.default for p in parameters if p.kind not in kinds}
    return {**defaults, **dict(zip(defaults, args, strict=False)), **options}


class Described:
    """A data set whose ``repr`` says what it is: name, split, size and root."""

    split: str
    root: Path

    def __len__(self) -> int:
        raise NotImplementedError

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}(split={self.split!r}, images={len(self)}, root={str(self.root)!r})"


def check_pair(image: np.ndarray, label: np.ndarray, sample: Sample | None, reduce: int = 1) -> None:
    """Raise an error unless image and label have the same size.

    Args:
        image: (H, W, C), or a copy at 1/``reduce`` of its size, its sides rounded up.
        label: (H, W).
        sample: their files, for the message; ``None`` where they are drawn.
        reduce: factor by which the image was reduced.

    Raises:
        DataError: the sizes differ.
    """
    height, width = label.shape
    if image.shape[:2] != (-(-height // reduce), -(-width // reduce)):
        message = _describe_mismatch(image.shape[:2], label.shape[:2], sample, reduce)
        paths = [path for path in (sample.image, sample.mask) if path is not None] if sample else []
        raise DataError(message, kind="size_mismatch", paths=paths)


def _describe_mismatch(image: Size, label: Size, sample: Sample | None, reduce: int) -> str:
    if sample is None:
        return f"the image is {image[1]}x{image[0]}, its label {label[1]}x{label[0]} pixels"
    height, width = image_size(sample.image) if reduce > 1 else image
    text = f"{sample.image} is {width}x{height} pixels, its mask {sample.mask} {label[1]}x{label[0]}"
    if (width, height) == label and exif_orientation(sample.image) >= 5:
        text += "; the photo carries an EXIF rotation that the mask has applied: rotate the photo's pixels"
    return text
