"""Pictures of batches as the network sees them: image and label side by side, with names and a legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from utils.data.batch import DeviceBatch
from utils.dataset_info import DatasetInfo, denormalise
from utils.images.draw import blend, colour_table, draw_legend, prediction_grid, to_rgb

_PAPER, _INK, _GAP = 255, 0, 6


def contact_sheet(
    images: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    names: Sequence[str],
    info: DatasetInfo,
    columns: int = 2,
    height: int = 256,
) -> np.ndarray:
    """Draw samples in a grid, each as its image, its label laid over it, and its name.

    Args:
        images: N images (H, W, C) uint8.
        labels: N labels (H, W) uint8; void is not painted.
        names: N names.
        info: the data set.
        columns: samples beside each other.
        height: of each picture in pixels.

    Returns:
        (H, W, 3) uint8 RGB; a legend of all classes that occur is at the bottom.
    """
    cells = [_cell(i, label, n, info, height) for i, label, n in zip(images, labels, names, strict=True)]
    width = max(cell.shape[1] for cell in cells)
    cells = [_pad(cell, width) for cell in cells]
    empty = np.full_like(cells[0], _PAPER)
    rows = []
    for first in range(0, len(cells), columns):
        row = cells[first : first + columns]
        rows.append(np.concatenate(row + [empty] * (columns - len(row)), axis=1))
    counts = sum(np.bincount(label.reshape(-1), minlength=256) for label in labels)
    present = [index for index in range(info.num_classes) if np.asarray(counts)[index]]
    entries = [(info.classes[i], tuple(int(v) for v in colour_table(info)[i])) for i in present]
    legend = draw_legend([(name, (r, g, b)) for name, (r, g, b) in entries], rows[0].shape[1])
    full = max(legend.shape[1], rows[0].shape[1])
    return np.concatenate([_pad(part, full) for part in (*rows, legend)], axis=0)


def _cell(image: np.ndarray, label: np.ndarray, name: str, info: DatasetInfo, height: int) -> np.ndarray:
    """Image and overlay side by side over the name."""
    pair = np.concatenate([to_rgb(image), blend(image, label, info, 0.6)], axis=1)
    width = max(round(pair.shape[1] * height / pair.shape[0]), 1)
    picture = np.array(Image.fromarray(pair).resize((width, height)))
    font = ImageFont.load_default(14)
    strip = Image.new("RGB", (width, 20), (_PAPER,) * 3)
    ImageDraw.Draw(strip).text((2, 1), name, fill=(_INK,) * 3, font=font)
    cell = np.concatenate([picture, np.array(strip)], axis=0)
    return np.pad(cell, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=_PAPER)


def _pad(picture: np.ndarray, width: int) -> np.ndarray:
    return np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0)), constant_values=_PAPER)


class PredictionPanel:
    """Keeps the first images of a validation and draws them beside target and prediction.

    Args:
        info: colours of the classes, and the normalisation to undo.
        limit: images kept.
    """

    def __init__(self, info: DatasetInfo, limit: int = 4) -> None:
        self.info = info
        self.limit = limit
        self._rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, batch: DeviceBatch, prediction: Tensor) -> None:
        """Take images of a batch while there is room.

        Args:
            batch: normalised images and targets.
            prediction: (N, H, W) class indices.
        """
        for index in range(min(len(batch.images), self.limit - len(self._rows))):
            pixels = denormalise(batch.images[index].permute(1, 2, 0), self.info)
            target = batch.target[index].byte().cpu().numpy()
            self._rows.append(
                (pixels.contiguous().cpu().numpy(), target, prediction[index].byte().cpu().numpy())
            )

    def draw(self) -> np.ndarray:
        """An (H, W, 3) uint8 picture: a row per image."""
        images, targets, predictions = zip(*self._rows, strict=True)
        return prediction_grid(list(images), list(targets), list(predictions), self.info)
