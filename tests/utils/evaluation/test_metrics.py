"""Metrics against hand-computed values and against torchmetrics and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, jaccard_score
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

from utils.evaluation.metrics import ConfusionMatrix, SegmentationMetrics

CLASSES = ("a", "b", "c")


def fixture(void: bool) -> tuple[torch.Tensor, torch.Tensor]:
    i = torch.arange(120, dtype=torch.float64)
    logits = (2 * torch.sin(1.7 * i) + torch.cos(0.3 * i)).view(2, 3, 4, 5)
    target = (7 * torch.arange(40) % 3).view(2, 4, 5)
    if void:
        target[0, 0, :] = 255
        target[1, :, 4] = 255
    return logits, target


@pytest.mark.parametrize(
    ("void", "matrix", "iou", "rest"),
    [
        (
            False,
            [[5, 5, 4], [5, 5, 3], [5, 4, 4]],
            [0.208333, 0.227273, 0.2],
            [0.35, 0.3498168, 0.2118687, 0.2117803, 0.3495104],
        ),
        (
            True,
            [[3, 3, 4], [3, 4, 3], [5, 3, 3]],
            [0.166667, 0.25, 0.166667],
            [0.3225806, 0.3242424, 0.1944444, 0.1935484, 0.3238095],
        ),
    ],
)
def test_published_fixture(void, matrix, iou, rest):
    logits, target = fixture(void)
    confusion = ConfusionMatrix(3)
    confusion.update(logits, target)
    assert confusion.matrix.tolist() == matrix
    metrics = confusion.compute(CLASSES)
    np.testing.assert_allclose(metrics.iou, iou, atol=1e-6)
    np.testing.assert_allclose(list(metrics.scalars().values()), [*rest, rest[-1]], atol=1e-7)  # Dice is F1


def test_agrees_with_torchmetrics_and_sklearn():
    generator = torch.Generator().manual_seed(0)
    prediction = torch.randint(0, 7, (4, 33, 21), generator=generator)
    target = torch.randint(0, 7, (4, 33, 21), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.2] = 255
    ours = ConfusionMatrix(7)
    ours.update(prediction, target)
    metrics = ours.compute([str(k) for k in range(7)])
    theirs = MulticlassConfusionMatrix(7, ignore_index=255)(prediction, target)
    assert torch.equal(ours.matrix, theirs)
    jaccard = MulticlassJaccardIndex(7, ignore_index=255)(prediction, target)
    assert metrics.mean_iou == pytest.approx(jaccard.item(), abs=1e-6)
    valid = target != 255
    truth, guess = target[valid].numpy(), prediction[valid].numpy()
    assert metrics.mean_iou == pytest.approx(jaccard_score(truth, guess, average="macro"))
    assert metrics.mean_f1 == pytest.approx(f1_score(truth, guess, average="macro"))


def test_absent_classes_do_not_count_and_the_summary_says_so():
    # four classes: one absent everywhere, one only ever predicted
    matrix = np.array([[70, 10, 0, 2], [8, 90, 0, 3], [0, 0, 0, 0], [0, 0, 0, 0]])
    metrics = SegmentationMetrics.from_matrix(matrix, ("sky", "road", "boat", "car"))
    assert math.isnan(metrics.iou[2])
    assert metrics.iou[3] == 0
    assert metrics.mean_iou == pytest.approx((70 / 90 + 90 / 111 + 0) / 3)
    assert "mean over 3 of 4 classes; not seen: boat" in metrics.summary
    assert metrics.to_figures()["Class_IoU"]["boat"] is None


def test_all_void_is_nan_not_a_crash():
    confusion = ConfusionMatrix(3)
    confusion.update(torch.zeros(1, 2, 2, dtype=torch.long), torch.full((1, 2, 2), 255))
    assert math.isnan(confusion.compute(CLASSES).mean_iou)
    assert confusion.matrix.sum() == 0


def test_independent_of_batching_and_exact_beyond_float32():
    logits, target = fixture(void=True)
    whole, singles = ConfusionMatrix(3), ConfusionMatrix(3)
    whole.update(logits, target)
    for image, label in zip(logits, target, strict=True):
        singles.update(image[None], label[None])
    assert torch.equal(whole.matrix, singles.matrix)
    big = ConfusionMatrix(3)
    big.load_state_dict({"counts": torch.full((16,), 2**24, dtype=torch.int64)})
    big.update(torch.zeros(1, 1, 1, dtype=torch.long), torch.zeros(1, 1, 1, dtype=torch.long))
    assert big.matrix[0, 0] == 2**24 + 1


def test_uint8_targets_do_not_overflow():
    confusion = ConfusionMatrix(21)
    confusion.update(torch.full((1, 1, 1), 20), torch.full((1, 1, 1), 20, dtype=torch.uint8))
    assert confusion.matrix[20, 20] == 1


def test_state_round_trip_and_reset():
    logits, target = fixture(void=True)
    first, second = ConfusionMatrix(3), ConfusionMatrix(3)
    first.update(logits, target)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.matrix, second.matrix)
    first.reset()
    assert first.matrix.sum() == 0
    assert second.matrix.sum() == 31
