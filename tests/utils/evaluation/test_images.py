"""Figures of an evaluation against other libraries and against hand-made cases."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, jaccard_score
from torchmetrics.classification import MulticlassF1Score, MulticlassJaccardIndex

from utils.dataset_info import DatasetInfo, voc_palette
from utils.evaluation.boundary import boundary, boundary_width, count_boundary
from utils.evaluation.images import Evaluation, count_image
from utils.report.evaluation import _HEADING, ContactSheet, class_table, draw_confusion, write_report

CLASSES = 5
INFO = DatasetInfo(tuple(f"c{i}" for i in range(CLASSES)), tuple(voc_palette(CLASSES)))


def pair(seed: int, size=(40, 50), classes: int = CLASSES):
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, size).astype(np.uint8)
    prediction = np.where(rng.random(size) < 0.6, target, rng.integers(0, classes, size)).astype(np.uint8)
    target[rng.random(size) < 0.1] = 255
    return prediction, target


def evaluated(count: int = 12) -> Evaluation:
    evaluation = Evaluation(INFO)
    for seed in range(count):
        evaluation.add(count_image(f"i{seed}", *pair(seed, (20 + seed, 30)), CLASSES))
    return evaluation


def test_counts_are_those_of_scikit_learn_and_torchmetrics():
    evaluation = evaluated()
    pairs = [pair(seed, (20 + seed, 30)) for seed in range(12)]
    found, true = (np.concatenate([p[k].ravel() for p in pairs]) for k in (0, 1))
    valid = true != 255
    assert np.array_equal(evaluation.matrix, confusion_matrix(true[valid], found[valid]))
    mean_iou = jaccard_score(true[valid], found[valid], average="macro")
    metrics = evaluation.metrics()
    assert metrics.mean_iou == pytest.approx(mean_iou, abs=1e-12)
    tensors = torch.from_numpy(found).long(), torch.from_numpy(true).long()
    for metric, value in (
        (MulticlassJaccardIndex(CLASSES, ignore_index=255), metrics.mean_iou),
        (MulticlassF1Score(CLASSES, ignore_index=255, average="macro"), metrics.mean_f1),
    ):
        assert float(metric(*tensors)) == pytest.approx(value, abs=1e-6)


def test_dice_per_image_counts_what_is_in_neither_as_perfect():
    target = np.array([[0, 0, 1, 255]], np.uint8)
    counts = count_image("a", np.array([[0, 1, 1, 2]], np.uint8), target, 3)
    assert counts.dice.tolist() == pytest.approx([2 / 3, 2 / 3, 1.0])  # class 2 is only predicted in void
    assert counts.mean_iou == pytest.approx(0.5) and counts.pixel_accuracy == pytest.approx(2 / 3)


def test_an_image_without_labels_has_no_figures_and_changes_none():
    evaluation = evaluated()
    before = evaluation.metrics().mean_iou
    counts = count_image("void", np.zeros((4, 4), np.uint8), np.full((4, 4), 255, np.uint8), CLASSES)
    assert np.isnan(counts.mean_iou) and np.isnan(counts.pixel_accuracy)
    evaluation.add(counts)
    assert evaluation.metrics().mean_iou == before


@pytest.mark.parametrize(
    ("prediction", "words"),
    [(np.zeros((2, 3), np.uint8), "label"), (np.full((2, 2), 9, np.uint8), "predicted 9")],
)
def test_what_cannot_be_compared_is_refused(prediction, words):
    with pytest.raises(ValueError, match=words):
        count_image("a", prediction, np.zeros((2, 2), np.uint8), 3)


def test_the_interval_holds_the_figure_and_narrows_with_more_images():
    few, many = evaluated(6), evaluated(60)
    for evaluation in (few, many):
        low, high = evaluation.interval()
        assert low < evaluation.metrics().mean_iou < high
        assert evaluation.interval() == (low, high)
    assert np.diff(many.interval()) < np.diff(few.interval())


def test_the_interval_is_that_of_a_plain_bootstrap():
    evaluation = evaluated(8)
    counts = np.stack([row.counts for row in evaluation.images])
    rng, values = np.random.default_rng(1), []
    for _ in range(3000):
        true, truth, found = counts[rng.integers(0, 8, 8)].sum(0)
        values.append((true / (truth + found - true)).mean())
    expected = np.quantile(values, [0.025, 0.975])
    assert evaluation.interval(3000) == pytest.approx(tuple(expected), abs=0.002)


# ---- boundary IoU ---------------------------------------------------------------------------------


def test_the_rim_of_a_square():
    region = np.zeros((20, 20), bool)
    region[5:15, 5:15] = True
    rim = boundary(region, 2)
    inner = np.zeros_like(region)
    inner[7:13, 7:13] = True
    assert np.array_equal(rim, region & ~inner)
    assert boundary(np.ones((9, 9), bool), 1).sum() == 32  # the image's edge is an outside


def test_boundary_iou_of_a_shifted_square_by_hand():
    target, prediction = np.zeros((40, 30), np.uint8), np.zeros((40, 30), np.uint8)
    target[10:30, 10:20] = 1
    prediction[11:31, 10:20] = 1
    assert boundary_width((40, 30)) == 1
    both, either = count_boundary(prediction, target, 2)[1]
    # each rim has 2*20 + 2*8 pixels; they share two sides of 19 and, at the corners, nothing more
    assert both == 2 * 19 and either == 2 * 56 - 2 * 19
    assert count_boundary(target, target, 2)[1].tolist() == [56, 56]


def test_void_is_not_compared_along_boundaries():
    target, prediction = np.zeros((40, 30), np.uint8), np.ones((40, 30), np.uint8)
    target[:] = 255
    assert not count_boundary(prediction, target, 2).any()


# ---- the report -----------------------------------------------------------------------------------


def test_the_report_is_strict_json_and_exact_tables(tmp_path):
    evaluation, sheet = evaluated(), ContactSheet(INFO, worst=True, rows=3)
    for seed in range(12):
        prediction, target = pair(seed, (20 + seed, 30))
        image = np.zeros((*target.shape, 3), np.uint8)
        sheet.add(evaluation.images[seed].mean_iou, f"i{seed}", image, target, prediction)
    write_report(tmp_path, evaluation, {"mode": "whole"}, {"worst": sheet})
    content = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert content["metrics"]["Mean_IoU"] == evaluation.metrics().mean_iou
    assert content["metrics"]["Classes_Counted"] == CLASSES and content["protocol"] == {"mode": "whole"}
    rows = list(csv.reader((tmp_path / "confusion.csv").read_text().splitlines()))
    assert np.array_equal(np.array([row[1:] for row in rows[1:]], int), evaluation.matrix)
    rows = list(csv.reader((tmp_path / "per_image.csv").read_text().splitlines()))
    assert len(rows) == 13 and rows[1][0] == "i0"
    assert {p.name for p in tmp_path.iterdir()} == {
        "metrics.json", "confusion.csv", "confusion.png", "per_image.csv", "worst.jpg"
    }  # fmt: skip
    assert "c3" in class_table(evaluation)


def test_absent_classes_are_null_not_nan(tmp_path):
    evaluation = Evaluation(INFO)
    evaluation.add(count_image("a", np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), CLASSES))
    write_report(tmp_path, evaluation, {}, {})
    metrics = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail)["metrics"]
    assert metrics["Class_IoU"] == {"c0": 1.0, "c1": None, "c2": None, "c3": None, "c4": None}
    assert metrics["Classes_Counted"] == 1


@pytest.mark.parametrize("worst", [True, False])
def test_sheets_keep_the_most_extreme_images(worst):
    sheet = ContactSheet(INFO, worst=worst, rows=2)
    scores = [0.5, 0.1, float("nan"), 0.9, 0.3]
    for number, score in enumerate(scores):
        target = np.zeros((10, 10), np.uint8)
        sheet.add(score, f"i{number}", np.zeros((10, 10, 3), np.uint8), target, target)
    kept = {text.split()[0] for *_, text, _ in sheet._kept}
    assert kept == ({"i1", "i4"} if worst else {"i3", "i0"})
    assert sheet.draw().dtype == np.uint8
    assert ContactSheet(INFO, worst=True).draw() is None


def test_the_confusion_picture_darkens_with_the_share():
    matrix = np.array([[90, 10, 0], [0, 50, 50], [0, 0, 0]])
    picture = draw_confusion(matrix, ("a", "b", "long name")).astype(int)
    top = picture.shape[0] - 10 - 3 * 44
    left = top - _HEADING  # names take as much room above as on the left

    def cell(row, column):
        return picture[top + row * 44 + 4, left + column * 44 + 4].sum()

    assert cell(0, 0) < cell(1, 1) < cell(0, 1) < cell(0, 2) == 255 * 3
