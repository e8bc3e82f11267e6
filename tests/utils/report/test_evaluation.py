"""The report on disk: strict JSON, exact tables, a confusion figure whose cells can be read."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from tests.utils.evaluation.test_images import CLASSES, INFO, evaluated, pair
from utils.evaluation.images import Evaluation, count_image
from utils.report.evaluation import _HEADING, class_table, draw_confusion, write_report
from utils.report.sheets import ExtremeImages


def test_the_report_is_strict_json_and_exact_tables(tmp_path):
    evaluation, sheet = evaluated(), ExtremeImages(INFO, worst=True, limit=3)
    for seed in range(12):
        prediction, target = pair(seed, (20 + seed, 30))
        image = np.zeros((*target.shape, 3), np.uint8)
        sheet.add(evaluation.images[seed].mean_iou, f"i{seed}", image, target, prediction)
    sheets = {"worst": sheet, "best": ExtremeImages(INFO, worst=False)}  # the second one kept no image
    write_report(tmp_path, evaluation, {"mode": "whole"}, sheets)
    content = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert content["metrics"]["Mean_IoU"] == evaluation.metrics().mean_iou
    assert content["metrics"]["Classes_Counted"] == CLASSES and content["protocol"] == {"mode": "whole"}
    rows = list(csv.reader((tmp_path / "confusion.csv").read_text().splitlines()))
    assert np.array_equal(np.array([row[1:] for row in rows[1:]], int), evaluation.matrix)
    rows = list(csv.reader((tmp_path / "per_image.csv").read_text().splitlines()))
    assert len(rows) == 13 and rows[1][0] == "i0"
    assert {p.name for p in tmp_path.iterdir()} == {
        "metrics.json", "confusion.csv", "confusion.png", "per_class.csv", "per_image.csv", "worst.jpg"
    }  # fmt: skip
    with Image.open(tmp_path / "confusion.png") as figure:
        assert np.array_equal(np.array(figure), draw_confusion(evaluation.matrix, INFO.classes))


def test_absent_classes_are_null_in_json_and_empty_in_tables(tmp_path):
    evaluation = Evaluation(INFO)
    evaluation.add(count_image("a", np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), CLASSES))
    evaluation.add(count_image("void", np.zeros((4, 4), np.uint8), np.full((4, 4), 255, np.uint8), CLASSES))
    write_report(tmp_path, evaluation, {}, {})
    metrics = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail)["metrics"]
    assert metrics["Class_IoU"] == {"c0": 1.0, "c1": None, "c2": None, "c3": None, "c4": None}
    assert metrics["Classes_Counted"] == 1
    rows = list(csv.reader((tmp_path / "per_image.csv").read_text().splitlines()))
    assert rows[0][:3] == ["image", "mean_iou", "pixel_accuracy"]
    assert rows[1][:3] == ["a", "1.000000", "1.000000"] and rows[2][:3] == ["void", "", ""]


def test_the_class_tables_have_precision_beside_recall_and_nothing_for_undefined_figures(tmp_path):
    evaluation = Evaluation(INFO)
    prediction, target = np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 0, 0, 1]], np.uint8)
    evaluation.add(count_image("a", prediction, target, CLASSES, boundaries=False))
    lines = class_table(evaluation).splitlines()
    assert lines[0].split() == ["class", "IoU", "Dice", "prec", "recall", "b-IoU", "i-Dice", "pixels"]
    assert lines[2].split() == ["c0", "0.6667", "0.8000", "1.0000", "0.6667", "-", "0.8000", "75.00%"]
    assert lines[3].split() == ["c1", "0.5000", "0.6667", "0.5000", "1.0000", "-", "0.6667", "25.00%"]
    assert lines[4].split() == ["c2", "-", "-", "-", "-", "-", "1.0000", "0.00%"]
    write_report(tmp_path, evaluation, {}, {})
    rows = list(csv.reader((tmp_path / "per_class.csv").read_text().splitlines()))
    assert rows[0][:5] == ["class", "iou", "dice", "precision", "recall"]
    assert rows[2] == ["c1", "0.500000", "0.666667", "0.500000", "1.000000", "", "0.666667", "1"]
    metrics = json.loads((tmp_path / "metrics.json").read_text())["metrics"]
    assert metrics["Class_Precision"]["c1"] == 0.5 and metrics["Class_Accuracy"]["c1"] == 1
    assert metrics["Class_Dice"] == metrics["Class_F1"] and metrics["Mean_Dice"] == metrics["Mean_F1"]


def test_the_confusion_figure_darkens_with_the_share():
    matrix = np.array([[90, 10, 0], [0, 50, 50], [0, 0, 0]])
    figure = draw_confusion(matrix, ("a", "b", "long name")).astype(int)
    top = figure.shape[0] - 10 - 3 * 44
    left = top - _HEADING  # names take as much room above as on the left

    def cell(row, column):
        return figure[top + row * 44 + 4, left + column * 44 + 4].sum()

    assert cell(0, 0) < cell(1, 1) < cell(0, 1) < cell(0, 2) == 255 * 3


def test_many_classes_get_small_cells():
    few, many = (draw_confusion(np.eye(n, dtype=int), ["x"] * n) for n in (40, 41))
    assert many.shape[0] < few.shape[0] / 2
