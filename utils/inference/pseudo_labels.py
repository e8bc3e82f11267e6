"""Pseudo-labels: masks that a model predicts for unlabelled images, void where it is not sure."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
import torch
from tqdm import tqdm

from utils.data.labels import LabelTable
from utils.data.pairing import IMAGE_SUFFIXES
from utils.errors import ConfigError, DataError, SegwrightError
from utils.images.masks import read_mask
from utils.images.read import read_image
from utils.inference.confidence import ConfidenceHistogram, confident_labels
from utils.inference.inputs import ImageFile
from utils.inference.labelled import LabelledPair, read_label
from utils.inference.outputs import name_outputs
from utils.inference.training_folder import TrainingFolder
from utils.predict.ensemble import Ensemble
from utils.predict.predictor import Predictor
from utils.system.files import readable
from utils.system.threads import run_overlapped

logger = logging.getLogger(__name__)

Item = tuple[ImageFile, PurePath]  # an image and the name of its pair
PSEUDO, LABELLED = "pseudo", "labelled"


@dataclass(frozen=True)
class Confidence:
    """The rule by which a pixel gets a label.

    Attributes:
        least: the probability that the best class must have.
        share: in place of ``least``, the share (0..1) of each class's pixels that get a label, the surest first.
    """

    least: float = 0.9
    share: float | None = None


class PseudoLabelJob:
    """The unlabelled images of one command line, and the labelled pairs that join them.

    Args:
        folder: where the pairs go.
        predictor: the model or ensemble.
        rule: which pixels get a label.
        images: unlabelled images.
        pairs: labelled images.
        table: class index of each value of their masks.
        value_range: (lowest, highest) value of 16-bit images, as in the training; ``None`` is the full range.

    Raises:
        ConfigError: two images would be written to the same file, or training reads no files of such a name.
    """

    def __init__(
        self,
        folder: TrainingFolder,
        predictor: Predictor | Ensemble,
        rule: Confidence,
        images: Sequence[ImageFile],
        pairs: Sequence[LabelledPair],
        table: LabelTable,
        value_range: Sequence[int] | None = None,
    ) -> None:
        self.folder, self.predictor, self.rule = folder, predictor, rule
        self.pairs, self.table = pairs, table
        self._range = None if value_range is None else (value_range[0], value_range[1])
        self.info = predictor.info
        odd = [image.path for image in images if image.path.suffix.lower() not in IMAGE_SUFFIXES]
        if odd:
            raise ConfigError(f"--images: {odd[0]}: a data set reads no files that end in '{odd[0].suffix}'")
        names = name_outputs(images, ("mask",))
        self.items = [(image, PSEUDO / name) for image, name in zip(images, names, strict=True)]
        self.failed: dict[str, str] = {}

    def run(self) -> int:
        """Write every pair that is missing, print the pixels of each class, and note them in the record.

        Returns:
            Exit code: 0, or 1 if an image failed.

        Raises:
            DataError: a labelled mask is not as it should be.
            StorageError: a file cannot be written.
        """
        for pair in tqdm(self.pairs, unit="pair", disable=None):
            name = LABELLED / PurePath(pair.name)
            if not self.folder.holds(name, pair.image.suffix):
                self.folder.add(name, pair.image, read_label(pair, self.table))
        thresholds = self._thresholds()
        pending = [item for item in self.items if not self.folder.holds(item[1], item[0].path.suffix)]
        if len(pending) < len(self.items):
            logger.info("%d of %d images have their masks", len(self.items) - len(pending), len(self.items))
        limits = torch.tensor(thresholds)
        self._each(pending, lambda image: self._label(image, limits), self._write, self._fail)
        self._report(thresholds)
        return 1 if self.failed else 0

    def _thresholds(self) -> list[float]:
        """Return the threshold of each class; those that follow from the images are kept in the record."""
        recorded = self.folder.record.get("thresholds")
        if recorded is not None:
            return list(recorded.values())
        found: Sequence[float] = [self.rule.least] * self.info.num_classes
        if self.rule.share is not None:
            histogram = ConfidenceHistogram(self.info.num_classes)
            logger.info("First pass over %d images: how sure the model is of each class", len(self.items))
            self._each(self.items, lambda image: self._count(image, histogram), _nothing, _nothing)
            found = histogram.thresholds(self.rule.share)
        self.folder.note(thresholds=dict(zip(self.info.classes, found, strict=True)))
        return list(found)

    def _each(
        self,
        items: Sequence[Item],
        predict: Callable[[np.ndarray], np.ndarray | None],
        write: Callable[[Item, np.ndarray | None], None],
        fail: Callable[[Item, SegwrightError], None],
    ) -> None:
        """Read, predict and write images, overlapped."""

        def work(item: Item, image: np.ndarray) -> np.ndarray | None:
            try:
                return predict(image)
            except DataError as error:
                raise error.at(item[0].path) from error
            finally:
                progress.update()

        with tqdm(total=len(items), unit="image", disable=None) as progress:
            run_overlapped(items, self._read, work, write, fail)

    def _read(self, item: Item) -> np.ndarray:
        """Return the image as training reads it: an EXIF rotation is not applied."""
        info = self.info
        return read_image(item[0].path, info.in_channels, info.fill_colour, value_range=self._range)

    def _count(self, image: np.ndarray, histogram: ConfidenceHistogram) -> None:
        for band in self.predictor.bands(image):
            histogram.add(band.scores)

    def _label(self, image: np.ndarray, thresholds: torch.Tensor) -> np.ndarray:
        mask = np.empty(image.shape[:2], dtype=np.uint8)
        for top, scores in self.predictor.bands(image):
            mask[top : top + len(scores)] = confident_labels(scores, thresholds).cpu().numpy()
        return mask

    def _write(self, item: Item, mask: np.ndarray | None) -> None:
        assert mask is not None
        self.folder.add(item[1], item[0].path, mask)

    def _fail(self, item: Item, error: SegwrightError) -> None:
        """Report an image that has no mask; the job continues with the others."""
        print(f"error: {error}", file=sys.stderr)
        self.failed[readable(str(item[0].relative))] = readable(str(error))

    def _report(self, thresholds: Sequence[float]) -> None:
        """Count the pixels of all masks, those of earlier calls included; print a table and note it."""
        labelled = [LABELLED / PurePath(pair.name) for pair in self.pairs]
        done = [name for image, name in self.items if self.folder.holds(name, image.path.suffix)]
        counts = [self._pixels(labelled), self._pixels(done)]
        self.folder.note(
            images={LABELLED: len(labelled), PSEUDO: len(done)},
            pixels={
                part: dict(zip((*self.info.classes, "void"), map(int, pixels), strict=True))
                for part, pixels in zip((LABELLED, PSEUDO), counts, strict=True)
            },
            failed=self.failed,
        )
        width = max(map(len, (*self.info.classes, "void")))
        print(f"{'class':{width}}  threshold  pixels labelled  pseudo-labels   share")
        total = max(int(counts[1].sum()), 1)
        for row, name in enumerate((*self.info.classes, "void")):
            limit = f"{thresholds[row]:9.4f}" if row < len(thresholds) else " " * 9
            own, made = int(counts[0][row]), int(counts[1][row])
            print(f"{name:{width}}  {limit}  {own:15,}  {made:13,}  {made / total:6.1%}")
        absent = [name for name, own in zip(self.info.classes, counts[0], strict=False) if not own]
        if self.pairs and absent:
            logger.warning("no labelled pixel of: %s; do --values and --void fit?", ", ".join(absent))
        logger.info("%d labelled and %d pseudo-labelled images in %s%s", len(labelled), len(done),
            self.folder.path, f"; {len(self.failed)} failed" if self.failed else "")  # fmt: skip

    def _pixels(self, names: Sequence[PurePath]) -> np.ndarray:
        """Count the pixels of each class, and of void at the end, in masks of the folder."""
        counts = np.zeros(256, dtype=np.int64)
        for name in names:
            counts += np.bincount(read_mask(self.folder.mask_path(name)).reshape(-1), minlength=256)
        return np.append(counts[: self.info.num_classes], counts[255])


def _nothing(*_: object) -> None:
    """Leave a result or an error to the second pass."""
