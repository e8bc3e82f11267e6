"""Writes an evaluation down: JSON, tables, the confusion matrix as a picture, best and worst images."""

from __future__ import annotations

import csv
import heapq
import io
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from utils.dataset_info import DatasetInfo
from utils.evaluation.images import Evaluation
from utils.images.draw import draw_legend, prediction_grid
from utils.system.files import write_atomically

_SHEET_ROWS = 8
_HEADING = 26  # pixels
_INK, _FAINT = (20, 20, 20), (170, 170, 170)


class ContactSheet:
    """Keeps small pictures of the images with the lowest, or the highest, scores.

    Args:
        info: colours.
        worst: keep the lowest.
        rows: images kept.
    """

    def __init__(self, info: DatasetInfo, *, worst: bool, rows: int = _SHEET_ROWS) -> None:
        self.info = info
        self.rows = rows
        self._sign = -1 if worst else 1
        self._kept: list[tuple[float, int, str, np.ndarray]] = []
        self._number = 0

    def add(
        self, score: float, image_id: str, image: np.ndarray, target: np.ndarray, prediction: np.ndarray
    ) -> None:
        """Offer an image; drawn only if it is kept. NaN scores are not."""
        self._number += 1
        rank = self._sign * score
        if np.isnan(score) or (len(self._kept) == self.rows and rank <= self._kept[0][0]):
            return
        picture = prediction_grid([image], [target], [prediction], self.info, height=200)
        entry = (rank, -self._number, f"{image_id}    mean IoU {score:.4f}", picture)
        (heapq.heappush if len(self._kept) < self.rows else heapq.heapreplace)(self._kept, entry)

    def draw(self) -> np.ndarray | None:
        """Image, target and prediction under their names and scores, the most extreme first."""
        if not self._kept:
            return None
        font = ImageFont.load_default(16)
        width = max(240, *(picture.shape[1] for *_, picture in self._kept))
        order = "lowest" if self._sign < 0 else "highest"
        heading = f"image, labels and prediction; the {order} mean IoU first"
        parts = [np.array(_line(heading, width, 28, font))]
        for _, _, text, picture in sorted(self._kept, key=lambda entry: entry[:2], reverse=True):
            strip = _line(text, width, 24 + picture.shape[0], font)
            strip.paste(Image.fromarray(picture), (0, 24))
            parts.append(np.array(strip))
        legend = draw_legend(list(zip(self.info.classes, self.info.palette, strict=True)), width)
        parts.append(np.pad(legend[:, :width], ((0, 0), (0, max(0, width - legend.shape[1])), (0, 0))))
        return np.concatenate(parts)


def _line(text: str, width: int, height: int, font: Any) -> Any:
    """A white picture with a line of text at its top."""
    strip = Image.new("RGB", (width, height), (255, 255, 255))
    ImageDraw.Draw(strip).text((4, 2), text, fill=_INK, font=font)
    return strip


def write_report(
    folder: Path, evaluation: Evaluation, protocol: dict[str, Any], sheets: dict[str, ContactSheet]
) -> None:
    """Write metrics.json, per_image.csv, confusion.csv, confusion.png and the contact sheets.

    Args:
        folder: made if missing.
        evaluation: what was compared.
        protocol: how, for the JSON: the figures mean little without it.
        sheets: file stem -> sheet.

    Raises:
        StorageError: a file cannot be written.
    """
    content = {"protocol": protocol, "metrics": evaluation.figures()}
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(folder / "metrics.json", lambda file: file.write(text.encode()))
    _write_csv(folder / "per_image.csv", _image_rows(evaluation))
    names = evaluation.info.classes
    table: list[Sequence[Any]] = [("true \\ predicted", *names)]
    table += [(name, *row) for name, row in zip(names, evaluation.matrix.tolist(), strict=True)]
    _write_csv(folder / "confusion.csv", table)
    picture = Image.fromarray(draw_confusion(evaluation.matrix, names))
    write_atomically(folder / "confusion.png", lambda file: picture.save(file, "PNG"))
    for stem, sheet in sheets.items():
        drawn = sheet.draw()
        if drawn is not None:
            save = partial(Image.fromarray(drawn).save, format="JPEG", quality=90)
            write_atomically(folder / f"{stem}.jpg", save)


def class_table(evaluation: Evaluation) -> str:
    """A line per class: IoU, accuracy, F1, boundary IoU, mean per-image Dice, share of the pixels."""
    metrics, edges, dice = evaluation.metrics(), evaluation.boundary_iou(), evaluation.mean_dice()
    pixels = evaluation.matrix.sum(axis=1)
    width = max(5, *(len(name) for name in evaluation.info.classes))
    head = f"{'class':{width}}     IoU     acc      F1   b-IoU  i-Dice  pixels"
    lines = [head, "-" * len(head)]
    for index, name in enumerate(evaluation.info.classes):
        rim = float("nan") if edges is None else edges[index]
        values = (metrics.iou[index], metrics.accuracy[index], metrics.f1[index], rim, dice[index])
        figures = "".join("       -" if np.isnan(value) else f"{value:8.4f}" for value in values)
        lines.append(f"{name:{width}}{figures} {100 * pixels[index] / max(1, pixels.sum()):6.2f}%")
    return "\n".join(lines)


def draw_confusion(matrix: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """The confusion matrix with rows divided by their sums: the diagonal is the accuracy of each class.

    Args:
        matrix: (C, C), rows true, columns predicted.
        classes: C names.

    Returns:
        (H, W, 3) uint8.
    """
    truth = matrix.sum(axis=1, keepdims=True)
    share = matrix / np.maximum(truth, 1)
    count = len(classes)
    cell = 44 if count <= 40 else 14
    font, small = ImageFont.load_default(14), ImageFont.load_default(12)
    margin = int(max(font.getlength(name) for name in classes)) + 12
    top = _HEADING + margin
    heading = "% of a true class (row) that is predicted as a class (column)"
    width = max(margin + count * cell + 10, int(font.getlength(heading)) + 12)
    page = Image.new("RGB", (width, top + count * cell + 10), (255, 255, 255))
    draw = ImageDraw.Draw(page)
    draw.text((6, 6), heading, fill=_INK, font=font)
    columns = Image.new("RGB", (margin, count * cell), (255, 255, 255))  # turned by 90 degrees below
    across = ImageDraw.Draw(columns)
    for index, name in enumerate(classes):
        middle = index * cell + cell // 2
        ink = _INK if truth[index] else _FAINT  # a class without a pixel has no row
        draw.text((margin - 6, top + middle), name, fill=ink, font=font, anchor="rm")
        across.text((6, middle), name, fill=_INK, font=font, anchor="lm")
    page.paste(columns.transpose(Image.Transpose.ROTATE_90), (margin, _HEADING))
    for row in range(count):
        for column in range(count):
            value = float(share[row, column])
            place = margin + column * cell, top + row * cell
            colour = tuple(int(255 - value * (255 - c)) for c in (8, 64, 129))
            end = place[0] + cell, place[1] + cell
            draw.rectangle((*place, *end), fill=colour, outline=(225, 225, 225) if cell > 20 else None)
            if cell > 20 and value >= 0.005:
                ink = (255, 255, 255) if value > 0.5 else _INK
                middle_of = (place[0] + cell // 2, place[1] + cell // 2)
                draw.text(middle_of, f"{100 * value:.0f}", fill=ink, font=small, anchor="mm")
    return np.array(page)


def _image_rows(evaluation: Evaluation) -> list[tuple[Any, ...]]:
    names = evaluation.info.classes
    head = ("image", "mean_iou", "pixel_accuracy", *(f"dice_{name}" for name in names))
    rows: list[tuple[Any, ...]] = [head]
    for row in evaluation.images:
        values = (row.mean_iou, row.pixel_accuracy, *row.dice)
        rows.append((row.image_id, *("" if np.isnan(v) else f"{v:.6f}" for v in values)))
    return rows


def _write_csv(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_atomically(path, lambda file: file.write(text.getvalue().encode()))
