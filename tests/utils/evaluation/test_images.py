"""Figures of an evaluation against other libraries and against cases computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, jaccard_score
from torchmetrics.classification import MulticlassF1Score, MulticlassJaccardIndex, MulticlassPrecision

from utils.dataset_info import DatasetInfo, voc_palette
from utils.evaluation.images import Evaluation, count_image

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
        (MulticlassPrecision(CLASSES, ignore_index=255, average="macro"), metrics.precision.mean()),
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
    ("prediction", "message"),
    [(np.zeros((2, 3), np.uint8), "the target"), (np.full((2, 2), 9, np.uint8), "predicted 9")],
)
def test_predictions_that_do_not_fit_their_target_are_refused(prediction, message):
    with pytest.raises(ValueError, match=message):
        count_image("a", prediction, np.zeros((2, 2), np.uint8), 3)


def test_the_interval_holds_the_figure_and_narrows_with_more_images():
    few, many = evaluated(6), evaluated(60)
    for evaluation in (few, many):
        low, high = evaluation.interval()
        assert low < evaluation.metrics().mean_iou < high
        assert evaluation.interval() == (low, high)
    assert np.diff(many.interval()) < np.diff(few.interval())


@pytest.mark.slow
def test_the_interval_is_that_of_a_plain_bootstrap():
    evaluation = evaluated(8)
    counts = np.stack([row.counts for row in evaluation.images])
    rng, values = np.random.default_rng(1), []
    for _ in range(3000):
        true, truth, found = counts[rng.integers(0, 8, 8)].sum(0)
        values.append((true / (truth + found - true)).mean())
    expected = np.quantile(values, [0.025, 0.975])
    assert evaluation.interval(3000) == pytest.approx(tuple(expected), abs=0.002)
