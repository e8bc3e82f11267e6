"""One command line's images: predicts them, writes their outputs, and records which succeeded and which failed."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
from torch import Tensor
from tqdm import tqdm

from utils.dataset_info import DatasetInfo
from utils.errors import DataError, SegwrightError
from utils.images.header import MAX_PIXELS
from utils.images.read import read_image
from utils.images.rle import RleTable
from utils.inference.inputs import ImageFile
from utils.inference.outputs import ImagePrediction, ResultWriter, name_outputs
from utils.predict.ensemble import Ensemble
from utils.predict.predictor import Predictor
from utils.predict.rows import Band
from utils.predict.scores import argmax_classes
from utils.system.files import readable, write_atomically
from utils.system.threads import run_overlapped

logger = logging.getLogger(__name__)

Item = tuple[ImageFile, PurePath]  # an input and the name of its outputs

# option of the command line -> kind of output, in the order in which they are written
_KINDS = {
    "colour": "colour",
    "overlay": "overlay",
    "original_ids": "ids",
    "save_probabilities": "probabilities",
    "disagreement": "disagreement",
}


class RleRequest(NamedTuple):
    """A table of run lengths to write.

    Attributes:
        path: the CSV file.
        preset: key of :data:`utils.images.rle.PRESETS`.
        class_index: class whose pixels are encoded.
    """

    path: str
    preset: str
    class_index: int


@dataclass(frozen=True)
class JobOptions:
    """Options of an inference job.

    Attributes:
        output: folder for the outputs.
        kinds: keys of :data:`utils.inference.outputs.SUFFIXES` to write.
        max_pixels: larger images are refused.
        skip_existing: leave out images whose outputs exist.
        rle: table of run lengths to write as well.
    """

    output: Path
    kinds: tuple[str, ...] = ("mask",)
    max_pixels: int = MAX_PIXELS
    skip_existing: bool = False
    rle: RleRequest | None = None

    @classmethod
    def from_arguments(cls, args: argparse.Namespace) -> JobOptions:
        """Take the options from the command line of inference.py or vote.py."""
        return cls(
            output=Path(args.output),
            kinds=("mask", *(kind for option, kind in _KINDS.items() if getattr(args, option))),
            max_pixels=args.max_pixels or MAX_PIXELS,
            skip_existing=args.skip_existing,
            rle=RleRequest(args.rle, args.rle_preset, args.rle_class) if args.rle else None,
        )


class InferenceJob:
    """The images of one command line.

    Args:
        options: outputs and limits.
        predictor: the model or ensemble.
        images: the inputs.

    Raises:
        ConfigError: an output is impossible, or two images would be written to the same file.
        StorageError: the output folder cannot be created.
    """

    def __init__(self, options: JobOptions, predictor: Predictor | Ensemble, images: list[ImageFile]) -> None:
        self.options = options
        self.predictor = predictor
        self.info = predictor.info
        self.writer = ResultWriter(options.output, self.info, options.kinds)
        self.items = list(zip(images, name_outputs(images, options.kinds), strict=True))
        self.summary = InferenceSummary(self.info)
        self.rle = None if options.rle is None else RleTable.open(*options.rle, self.info)

    def run(self) -> int:
        """Segment all images.

        Returns:
            Exit code: 0, or 1 if an image failed.

        Raises:
            StorageError: an output cannot be written.
        """
        start = time.perf_counter()
        self._segment(self._pending())
        if self.rle is not None:
            self.rle.save()
        self.summary.save(self.writer.folder / "summary.json", time.perf_counter() - start)
        failed = len(self.summary.failed)
        logger.info(
            "%d masks in %s, %.1f s%s",
            self.summary.images,
            self.writer.folder,
            time.perf_counter() - start,
            f"; {failed} failed" if failed else "",
        )
        return 1 if failed else 0

    def _pending(self) -> list[Item]:
        """Return the images to segment: all of them, or those without outputs."""
        if not self.options.skip_existing:
            return self.items
        pending = [item for item in self.items if not self.writer.is_complete(item[1])]
        logger.info(
            "%d of %d images already have their outputs", len(self.items) - len(pending), len(self.items)
        )
        return pending

    def _segment(self, items: list[Item]) -> None:
        """Read, predict and write images, overlapped."""
        with tqdm(total=len(items), unit="image", disable=None) as progress:

            def write(item: Item, result: tuple[np.ndarray, ImagePrediction]) -> None:
                self._write(item, *result)
                progress.update()

            run_overlapped(items, self._read, self._predict, write, self._fail)

    def _read(self, item: Item) -> np.ndarray:
        """Return the image as it is displayed, with the model's channels."""
        try:
            return read_image(
                item[0].path,
                self.info.in_channels,
                self.info.fill_colour,
                exif_transpose=True,
                max_pixels=self.options.max_pixels,
            )
        except DataError as error:
            if error.kind != "too_large":
                raise
            raise DataError(f"{error}, or raise --max-pixels", kind=error.kind, paths=error.paths) from error

    def _predict(self, item: Item, image: np.ndarray) -> tuple[np.ndarray, ImagePrediction]:
        """Return the image and its prediction; an error names the file."""
        try:
            kinds = {"probabilities", "disagreement"} & set(self.options.kinds)
            if kinds:
                return image, _predict_kinds(self.predictor, image, kinds)
            return image, ImagePrediction(self.predictor.predict(image))
        except SegwrightError as error:
            if isinstance(error, DataError):
                raise error.at(item[0].path) from error
            raise type(error)(f"{item[0].path}: {error}") from error

    def _write(self, item: Item, image: np.ndarray, prediction: ImagePrediction) -> None:
        source, name = item
        self.writer.write(name, image, prediction)
        self.summary.add(str(source.relative), prediction.mask)
        if self.rle is not None:
            self.rle.add(source.relative, prediction.mask)

    def _fail(self, item: Item, error: SegwrightError) -> None:
        """Report a file that has no prediction; the job continues with the others."""
        print(f"error: {error}", file=sys.stderr)
        self.summary.failed[readable(str(item[0].relative))] = readable(str(error))


def _predict_kinds(predictor: Predictor | Ensemble, image: np.ndarray, kinds: set[str]) -> ImagePrediction:
    """Predict the mask and further kinds of output in one pass over the image."""
    prediction = ImagePrediction(np.empty(image.shape[:2], dtype=np.uint8))
    if "probabilities" in kinds:
        shape = (predictor.info.num_classes, *image.shape[:2])
        prediction.probabilities = np.empty(shape, dtype=np.float16)
    if "disagreement" in kinds:
        prediction.disagreement = np.empty_like(prediction.mask)
    for (top, scores), disagreement in _bands(predictor, image):
        rows = slice(top, top + len(scores))
        prediction.mask[rows] = argmax_classes(scores).cpu().numpy()
        if prediction.probabilities is not None:
            prediction.probabilities[:, rows] = scores.permute(2, 0, 1).cpu().numpy()
        if prediction.disagreement is not None and disagreement is not None:
            prediction.disagreement[rows] = disagreement.cpu().numpy()
    return prediction


def _bands(predictor: Predictor | Ensemble, image: np.ndarray) -> Iterator[tuple[Band, Tensor | None]]:
    """Yield bands of scores, with the disagreement of an ensemble's members."""
    if isinstance(predictor, Ensemble):
        yield from predictor.bands_with_disagreement(image)
    else:
        for band in predictor.bands(image):
            yield band, None


class InferenceSummary:
    """Counts the pixels of every class, over all images and per image.

    Attributes:
        images: number of images segmented.
        failed: name -> error message of the images that failed.
    """

    def __init__(self, info: DatasetInfo) -> None:
        self.info = info
        self.images = 0
        self.failed: dict[str, str] = {}
        self._pixels = np.zeros(256, dtype=np.int64)
        self._shares: dict[str, dict[str, float]] = {}

    def add(self, name: str, mask: np.ndarray) -> None:
        """Count one (H, W) uint8 mask."""
        counts = np.bincount(mask.reshape(-1), minlength=256)
        self._pixels += counts
        self.images += 1
        self._shares[readable(name)] = self._class_shares(counts)

    def _class_shares(self, counts: np.ndarray) -> dict[str, float]:
        """Return the share of every class that occurs, 0..1 of the pixels."""
        total = int(counts.sum())
        return {
            name: round(int(count) / total, 6)
            for name, count in zip(self.info.classes, counts, strict=False)
            if count
        }

    def save(self, path: Path, seconds: float) -> None:
        """Write the summary as strict JSON, atomically; classes without a pixel are left out.

        Raises:
            StorageError: it cannot be written.
        """
        content = {
            "images": self.images,
            "seconds": round(seconds, 3),
            "pixels": int(self._pixels.sum()),
            "class_shares": self._class_shares(self._pixels) if self.images else {},
            "failed": self.failed,
            "per_image": self._shares,
        }
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_atomically(path, lambda file: file.write(text.encode()))
