"""Segments the images of one command line and keeps account of what went well and what did not."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path, PurePath

import numpy as np
from torch import Tensor
from tqdm import tqdm

from utils.dataset_info import DatasetInfo
from utils.errors import SegwrightError
from utils.images.header import MAX_PIXELS
from utils.images.read import read_image
from utils.images.rle import RleTable
from utils.inference.inputs import ImageFile
from utils.inference.outputs import Result, ResultWriter, name_outputs
from utils.predict.ensemble import Ensemble
from utils.predict.predictor import Predictor
from utils.predict.rows import Band
from utils.predict.scores import decide
from utils.system.files import write_atomically
from utils.system.threads import run_overlapped

logger = logging.getLogger(__name__)

Item = tuple[ImageFile, PurePath]  # an input and the name of its outputs


class InferenceJob:
    """The images of one command line.

    Args:
        args: the command line.
        predictor: the model or ensemble.
        images: the inputs.
    """

    def __init__(
        self, args: argparse.Namespace, predictor: Predictor | Ensemble, images: list[ImageFile]
    ) -> None:
        flags = ("colour", "overlay", "original_ids", "save_probabilities", "disagreement")
        kinds = {"original_ids": "ids", "save_probabilities": "probabilities"}
        chosen = ["mask", *(kinds.get(flag, flag) for flag in flags if getattr(args, flag))]
        self.args = args
        self.predictor = predictor
        self.info = predictor.info
        self.writer = ResultWriter(Path(args.output), self.info, chosen)
        self.items = list(zip(images, name_outputs(images, chosen), strict=True))
        self.summary = InferenceSummary(self.info)
        self.max_pixels = args.max_pixels or MAX_PIXELS
        self.rle = None
        if args.rle:
            self.rle = RleTable.open(args.rle, args.rle_preset, args.rle_class, self.info)

    def run(self) -> int:
        """Segment all; returns the exit code."""
        items = self.items
        if self.args.skip_existing:
            items = [item for item in items if not self.writer.is_complete(item[1])]
            logger.info(
                "%d of %d images have their results already", len(self.items) - len(items), len(self.items)
            )
        start = time.perf_counter()
        with tqdm(total=len(items), unit="image", disable=None) as bar:

            def write(item: Item, result: tuple[np.ndarray, Result]) -> None:
                self.write(item, result)
                bar.update()

            run_overlapped(items, self.read, self.work, write, self.fail)
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

    def read(self, item: Item) -> np.ndarray:
        """The image as it is displayed, with the model's channels."""
        return read_image(
            item[0].path,
            self.info.in_channels,
            self.info.fill_colour,
            exif_transpose=True,
            max_pixels=self.max_pixels,
        )

    def work(self, item: Item, image: np.ndarray) -> tuple[np.ndarray, Result]:
        """Predict one image."""
        try:
            kinds = {"probabilities", "disagreement"} & set(self.writer.kinds)
            if kinds:
                return image, _collect(self.predictor, image, kinds)
            return image, Result(self.predictor.predict(image))
        except SegwrightError as error:
            raise type(error)(f"{item[0].path}: {error}") from error

    def write(self, item: Item, result: tuple[np.ndarray, Result]) -> None:
        """Store the results of one image."""
        source, name = item
        image, found = result
        self.writer.write(name, image, found)
        self.summary.add(str(source.relative), found.mask)
        if self.rle is not None:
            self.rle.add(source.relative, found.mask)

    def fail(self, item: Item, error: SegwrightError) -> None:
        """Name a file that gave no result; the others go on."""
        print(f"error: {error}", file=sys.stderr)
        self.summary.failed[str(item[0].relative)] = str(error)


def _collect(predictor: Predictor | Ensemble, image: np.ndarray, kinds: set[str]) -> Result:
    """Class indices and what else is asked for, all from one pass."""
    result = Result(np.empty(image.shape[:2], dtype=np.uint8))
    if "probabilities" in kinds:
        shape = (predictor.info.num_classes, *image.shape[:2])
        result.probabilities = np.empty(shape, dtype=np.float16)
    if "disagreement" in kinds:
        result.disagreement = np.empty_like(result.mask)
    for (top, scores), odd in _bands(predictor, image):
        rows = slice(top, top + len(scores))
        result.mask[rows] = decide(scores).cpu().numpy()
        if result.probabilities is not None:
            result.probabilities[:, rows] = scores.permute(2, 0, 1).cpu().numpy()
        if result.disagreement is not None and odd is not None:
            result.disagreement[rows] = odd.cpu().numpy()
    return result


def _bands(predictor: Predictor | Ensemble, image: np.ndarray) -> Iterator[tuple[Band, Tensor | None]]:
    if isinstance(predictor, Ensemble):
        yield from predictor.bands_with_disagreement(image)
    else:
        for band in predictor.bands(image):
            yield band, None


class InferenceSummary:
    """Counts the pixels of every class over all images, and per image.

    Attributes:
        images: number of images segmented.
        failed: name -> reason of those that were not.
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
        self._shares[name] = self._share(counts)

    def _share(self, counts: np.ndarray) -> dict[str, float]:
        total = int(counts.sum())
        return {
            name: round(int(count) / total, 6)
            for name, count in zip(self.info.classes, counts, strict=False)
            if count
        }

    def save(self, path: Path, seconds: float) -> None:
        """Write strict JSON: shares are parts of 1 of the pixels, classes that occur only.

        Raises:
            StorageError: it cannot be written.
        """
        content = {
            "images": self.images,
            "seconds": round(seconds, 3),
            "pixels": int(self._pixels.sum()),
            "class_shares": self._share(self._pixels) if self.images else {},
            "failed": self.failed,
            "per_image": self._shares,
        }
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_atomically(path, lambda file: file.write(text.encode()))
