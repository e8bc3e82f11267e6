"""Sheets of images for people: batches with their masks, predictions beside targets, best and worst images."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from utils.data.batch import Batch, DeviceBatch
from utils.dataset_info import DatasetInfo, denormalise
from utils.images.draw import blend, draw_legend, prediction_grid, stack, to_rgb
from utils.images.names import drawable_names

_PAPER = 255
_GAP = 6  # pixels between the cells of a contact sheet
_SHEET_ROWS = 8
_ROW_HEIGHT = 200  # pixels of a row of extreme images
_LEAST_WIDTH = 240  # pixels, so that short headings fit


def contact_sheet(
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    names: Sequence[str],
    info: DatasetInfo,
    columns: int = 2,
    height: int = 256,
) -> np.ndarray:
    """Draw samples in a grid: each as its image, the image blended with its mask, and its name.

    Args:
        images: N images (H, W, C) uint8.
        masks: N masks (H, W) uint8; void is not painted.
        names: N names.
        info: classes and colours.
        columns: samples side by side.
        height: of each image in pixels.

    Returns:
        (H, W, 3) uint8 RGB; a legend of all classes that occur is at the bottom.
    """
    cells = [_cell(*sample, info, height) for sample in zip(images, masks, names, strict=True)]
    width = max(cell.shape[1] for cell in cells)
    cells = [_pad_right(cell, width) for cell in cells]
    cells += [np.full_like(cells[0], _PAPER)] * (-len(cells) % columns)
    rows = [np.concatenate(cells[at : at + columns], axis=1) for at in range(0, len(cells), columns)]
    present = {int(index) for mask in masks for index in np.unique(mask)}
    legend = _legend(info, sorted(present & set(range(info.num_classes))), rows[0].shape[1])
    return stack([*rows, legend])


def _cell(image: np.ndarray, mask: np.ndarray, name: str, info: DatasetInfo, height: int) -> np.ndarray:
    """Draw an image and its overlay side by side above the name, with a gap at the right and at the bottom."""
    pair = np.concatenate([to_rgb(image), blend(image, mask, info, 0.6)], axis=1)
    width = max(round(pair.shape[1] * height / pair.shape[0]), 1)
    scaled = np.array(Image.fromarray(pair).resize((width, height)))
    cell = np.concatenate([scaled, _text_strip(name, width, 20, 14, (2, 1), (0, 0, 0))], axis=0)
    return np.pad(cell, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=_PAPER)


class PredictionPanel:
    """Keeps the first images of a validation and draws them beside target and prediction.

    Args:
        info: colours of the classes, and the normalisation to undo.
        limit: number of images kept.
    """

    def __init__(self, info: DatasetInfo, limit: int = 4) -> None:
        self.info = info
        self.limit = limit
        self._rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, batch: DeviceBatch, prediction: Tensor) -> None:
        """Keep images of a batch until the limit is reached.

        Args:
            batch: normalised images and targets.
            prediction: (N, H, W) class indices.
        """
        for index in range(min(len(batch.images), self.limit - len(self._rows))):
            pixels = denormalise(batch.images[index].permute(1, 2, 0), self.info).contiguous().cpu().numpy()
            target = batch.target[index].byte().cpu().numpy()
            self._rows.append((pixels, target, prediction[index].byte().cpu().numpy()))

    def draw(self) -> np.ndarray:
        """Return an (H, W, 3) uint8 figure with one row per image."""
        images, targets, predictions = zip(*self._rows, strict=True)
        return prediction_grid(list(images), list(targets), list(predictions), self.info)


class _Extreme(NamedTuple):
    """An image that is kept; the lowest tuple is replaced first."""

    rank: float
    minus_number: int  # of equal ranks the earlier image is kept
    heading: str
    row: np.ndarray


class ExtremeImages:
    """Keeps the images with the lowest, or the highest, scores, drawn small.

    Args:
        info: classes and colours.
        worst: keep the lowest scores.
        limit: number of images kept.
    """

    def __init__(self, info: DatasetInfo, *, worst: bool, limit: int = _SHEET_ROWS) -> None:
        self.info = info
        self.limit = limit
        self._sign = -1 if worst else 1
        self._kept: list[_Extreme] = []
        self._number = 0

    def add(
        self, score: float, image_id: str, image: np.ndarray, target: np.ndarray, prediction: np.ndarray
    ) -> None:
        """Offer an image; it is drawn only if it is kept.

        Args:
            score: mean IoU of the image; with NaN it is not kept.
            image_id: name of the image.
            image: (H, W, C) uint8.
            target: (H, W) uint8.
            prediction: (H, W) uint8.
        """
        self._number += 1
        rank = self._sign * score
        if np.isnan(score) or (len(self._kept) == self.limit and rank <= self._kept[0].rank):
            return
        row = prediction_grid([image], [target], [prediction], self.info, height=_ROW_HEIGHT)
        entry = _Extreme(rank, -self._number, f"{image_id}    mean IoU {score:.4f}", row)
        (heapq.heappush if len(self._kept) < self.limit else heapq.heapreplace)(self._kept, entry)

    def draw(self) -> np.ndarray | None:
        """Draw image, target and prediction of every image kept, the most extreme first.

        Returns:
            (H, W, 3) uint8 RGB with a legend at the bottom; ``None`` if no image is kept.
        """
        if not self._kept:
            return None
        width = max(_LEAST_WIDTH, *(entry.row.shape[1] for entry in self._kept))
        order = "lowest" if self._sign < 0 else "highest"
        parts = [_text_strip(f"image, labels and prediction; the {order} mean IoU first", width, 28)]
        for entry in sorted(self._kept, key=lambda entry: entry[:2], reverse=True):
            parts += [_text_strip(entry.heading, width, 24), entry.row]
        legend = _legend(self.info, range(self.info.num_classes), width)
        return stack([*parts, legend[:, :width]])


class EpochLoader(Protocol):
    """A loader whose epoch can be chosen.

    Attributes:
        info: classes and colours of its data set.
    """

    info: DatasetInfo

    def set_epoch(self, epoch: int) -> None: ...

    def __iter__(self) -> Iterator[Batch]: ...


def draw_batches(loader: EpochLoader, path: Path, *, epoch: int, batches: int, columns: int) -> int:
    """Write an image of the first batches of an epoch; return the number of samples on it.

    Args:
        loader: training or validation data.
        path: the image to write; its folder is created.
        epoch: the epoch, which decides how samples are augmented.
        batches: number of batches.
        columns: samples side by side.
    """
    loader.set_epoch(epoch)
    drawn = list(islice(iter(loader), batches))
    images = [image.numpy() for batch in drawn for image in batch.images]
    masks = [mask.numpy() for batch in drawn for mask in batch.target]
    names = [name for batch in drawn for name in batch.image_ids]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(contact_sheet(images, masks, names, loader.info, columns)).save(path)
    return len(names)


def _text_strip(
    text: str,
    width: int,
    height: int,
    size: int = 16,
    at: tuple[int, int] = (4, 2),
    ink: tuple[int, int, int] = (20, 20, 20),
) -> np.ndarray:
    """Draw one line of text on a white strip."""
    strip = Image.new("RGB", (width, height), (_PAPER,) * 3)
    ImageDraw.Draw(strip).text(at, text, fill=ink, font=ImageFont.load_default(size))
    return np.array(strip)


def _legend(info: DatasetInfo, indices: Iterable[int], width: int) -> np.ndarray:
    names = drawable_names(tuple(info.classes))
    return draw_legend([(names[index], info.palette[index]) for index in indices], width)


def _pad_right(image: np.ndarray, width: int) -> np.ndarray:
    return np.pad(image, ((0, 0), (0, width - image.shape[1]), (0, 0)), constant_values=_PAPER)
