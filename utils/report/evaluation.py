"""The report of an evaluation on disk: figures as JSON, tables, and the confusion matrix as a figure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from utils.evaluation.images import Evaluation
from utils.images.names import drawable_names
from utils.report.sheets import ExtremeImages
from utils.system.files import write_atomically

Cell = str | int
_HEADING = 26  # pixels above the names of the columns
_BORDER = 10  # pixels at the right and at the bottom
_LARGE_CELL, _SMALL_CELL = 44, 14  # pixels a side; numbers fit in large ones only
_MANY_CLASSES = 40  # more than these get small cells
_PAPER, _INK, _FAINT, _LINE = (255, 255, 255), (20, 20, 20), (170, 170, 170), (225, 225, 225)
_FULL = (8, 64, 129)  # colour of a share of 1


def write_report(
    folder: Path,
    evaluation: Evaluation,
    protocol: Mapping[str, Any],
    sheets: Mapping[str, ExtremeImages],
) -> None:
    """Write metrics.json, per_class.csv, per_image.csv, confusion.csv, confusion.png and the sheets of images.

    Args:
        folder: created if missing.
        evaluation: the images compared.
        protocol: how they were compared, for the JSON: the figures mean little without it.
        sheets: file stem -> images; nothing is written for one that kept none.

    Raises:
        StorageError: a file cannot be written.
    """
    content = {"protocol": protocol, "metrics": evaluation.figures()}
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(
        folder / "metrics.json", lambda file: file.write(text.encode("utf-8", "backslashreplace"))
    )
    names = evaluation.info.classes
    _write_csv(folder / "per_class.csv", _class_rows(evaluation))
    _write_csv(folder / "per_image.csv", _image_rows(evaluation))
    _write_csv(folder / "confusion.csv", _confusion_rows(evaluation.matrix, names))
    confusion = Image.fromarray(draw_confusion(evaluation.matrix, names))
    write_atomically(folder / "confusion.png", lambda file: confusion.save(file, "PNG"))
    for stem, sheet in sheets.items():
        drawn = sheet.draw()
        if drawn is not None:
            save = partial(Image.fromarray(drawn).save, format="JPEG", quality=90)
            write_atomically(folder / f"{stem}.jpg", save)


def class_table(evaluation: Evaluation) -> str:
    """Return a table with a line per class.

    Its columns: IoU, Dice, precision, recall, boundary IoU, mean per-image Dice, and the share of the labelled
    pixels. A figure that does not exist is a dash.
    """
    pixels = evaluation.matrix.sum(axis=1)
    width = max(5, *(len(name) for name in evaluation.info.classes))
    header = f"{'class':{width}}     IoU    Dice    prec  recall   b-IoU  i-Dice  pixels"
    lines = [header, "-" * len(header)]
    for name, count, values in zip(evaluation.info.classes, pixels, _class_figures(evaluation), strict=True):
        figures = "".join("       -" if np.isnan(value) else f"{value:8.4f}" for value in values)
        lines.append(f"{name:{width}}{figures} {100 * count / max(1, pixels.sum()):6.2f}%")
    return "\n".join(lines)


def _class_figures(evaluation: Evaluation) -> np.ndarray:
    """Return (C, 6): IoU, Dice, precision, recall, boundary IoU and mean per-image Dice; NaN where undefined."""
    metrics, boundary_iou, image_dice = (
        evaluation.metrics(),
        evaluation.boundary_iou(),
        evaluation.mean_dice(),
    )
    if boundary_iou is None:
        boundary_iou = np.full(len(image_dice), np.nan)
    figures = metrics.iou, metrics.f1, metrics.precision, metrics.accuracy, boundary_iou, image_dice
    return np.stack(figures, axis=1)


class _Grid(NamedTuple):
    """Geometry of the confusion figure, in pixels.

    Attributes:
        left: width of the row names.
        top: height of the heading and the column names.
        cell: side of a cell.
    """

    left: int
    top: int
    cell: int

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """Return x and y of a cell's upper left corner."""
        return self.left + column * self.cell, self.top + row * self.cell

    @property
    def has_numbers(self) -> bool:
        """A number fits in a cell."""
        return self.cell == _LARGE_CELL


def draw_confusion(matrix: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Draw the confusion matrix with rows divided by their sums: the diagonal is the accuracy of each class.

    Args:
        matrix: (C, C), rows true, columns predicted.
        classes: C names.

    Returns:
        (H, W, 3) uint8.
    """
    classes = drawable_names(tuple(classes))
    truth = matrix.sum(axis=1, keepdims=True)
    share = matrix / np.maximum(truth, 1)
    font = ImageFont.load_default(14)
    cell = _LARGE_CELL if len(classes) <= _MANY_CLASSES else _SMALL_CELL
    names = int(max(font.getlength(name) for name in classes)) + 12
    grid = _Grid(names, _HEADING + names, cell)
    heading = "% of a true class (row) that is predicted as a class (column)"
    right, bottom = grid.corner(len(classes), len(classes))
    width = max(right + _BORDER, int(font.getlength(heading)) + 12)
    page = Image.new("RGB", (width, bottom + _BORDER), _PAPER)
    ImageDraw.Draw(page).text((6, 6), heading, fill=_INK, font=font)
    _draw_names(page, classes, truth[:, 0] > 0, grid)
    _draw_cells(page, share, grid)
    return np.array(page)


def _draw_names(page: Image.Image, classes: Sequence[str], labelled: np.ndarray, grid: _Grid) -> None:
    """Write the class names at the left and, turned by 90 degrees, above; rows without a pixel are faint."""
    font = ImageFont.load_default(14)
    draw = ImageDraw.Draw(page)
    above = Image.new("RGB", (grid.left, len(classes) * grid.cell), _PAPER)
    draw_above = ImageDraw.Draw(above)
    for index, name in enumerate(classes):
        middle = index * grid.cell + grid.cell // 2
        ink = _INK if labelled[index] else _FAINT
        draw.text((grid.left - 6, grid.top + middle), name, fill=ink, font=font, anchor="rm")
        draw_above.text((6, middle), name, fill=_INK, font=font, anchor="lm")
    page.paste(above.transpose(Image.Transpose.ROTATE_90), (grid.left, _HEADING))


def _draw_cells(page: Image.Image, share: np.ndarray, grid: _Grid) -> None:
    """Paint every cell by its share, 0..1, and write the share in per cent where it fits."""
    font = ImageFont.load_default(12)
    draw = ImageDraw.Draw(page)
    for (row, column), value in np.ndenumerate(share):
        x, y = grid.corner(row, column)
        colour = tuple(int(255 - value * (255 - channel)) for channel in _FULL)
        outline = _LINE if grid.has_numbers else None
        draw.rectangle((x, y, x + grid.cell, y + grid.cell), fill=colour, outline=outline)
        if grid.has_numbers and value >= 0.005:
            middle = x + grid.cell // 2, y + grid.cell // 2
            ink = _PAPER if value > 0.5 else _INK
            draw.text(middle, f"{100 * value:.0f}", fill=ink, font=font, anchor="mm")


def _image_rows(evaluation: Evaluation) -> list[list[Cell]]:
    names = evaluation.info.classes
    rows: list[list[Cell]] = [["image", "mean_iou", "pixel_accuracy", *(f"dice_{name}" for name in names)]]
    for row in evaluation.images:
        values = (row.mean_iou, row.pixel_accuracy, *row.dice)
        rows.append([row.image_id, *("" if np.isnan(v) else f"{v:.6f}" for v in values)])
    return rows


def _class_rows(evaluation: Evaluation) -> list[list[Cell]]:
    header = ("class", "iou", "dice", "precision", "recall", "boundary_iou", "mean_image_dice", "pixels")
    rows: list[list[Cell]] = [list(header)]
    pixels = evaluation.matrix.sum(axis=1).tolist()
    for name, values, count in zip(evaluation.info.classes, _class_figures(evaluation), pixels, strict=True):
        rows.append([name, *("" if np.isnan(value) else f"{value:.6f}" for value in values), count])
    return rows


def _confusion_rows(matrix: np.ndarray, names: Sequence[str]) -> list[list[Cell]]:
    rows: list[list[Cell]] = [["true \\ predicted", *names]]
    return rows + [[name, *row] for name, row in zip(names, matrix.tolist(), strict=True)]


def _write_csv(path: Path, rows: Sequence[Sequence[Cell]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_atomically(path, lambda file: file.write(text.getvalue().encode("utf-8", "backslashreplace")))
