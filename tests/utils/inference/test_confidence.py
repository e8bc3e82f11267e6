"""Thresholds of confidence: the quantiles of each class by sorting, and the labels that they leave."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from utils.inference.confidence import ConfidenceHistogram, confident_labels


def scores_of(pixels: int, classes: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(3)
    logits = torch.randn(pixels // 10, 10, classes, generator=draw) * 4
    logits[..., 0] += 3  # a frequent class
    return logits.softmax(-1)


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_a_threshold_keeps_the_most_confident_share_of_each_class(share):
    scores = scores_of(4000, 3)
    histogram = ConfidenceHistogram(4)
    for band in (scores[:150], scores[150:]):  # what is added in parts adds up
        histogram.add(torch.cat([band, torch.zeros_like(band[..., :1])], dim=-1))
    thresholds = histogram.thresholds(share)
    best, label = scores.reshape(-1, 3).max(-1)
    for index in range(3):
        ranked = np.sort(best[label == index].numpy())[::-1]
        exact = ranked[int(np.ceil(share * len(ranked))) - 1]
        assert thresholds[index] <= exact  # at least that share is kept
        assert 1 - thresholds[index] == pytest.approx(1 - exact, rel=1 / 256)
    assert thresholds[3] == 1  # never the best class


def test_labels_below_the_threshold_of_their_class_are_void():
    scores = torch.tensor([[[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]], [[0.5, 0.5], [0.89999, 0.1], [0.0, 1.0]]])
    assert confident_labels(scores, torch.tensor([0.9, 0.9])).tolist() == [[0, 255, 255], [255, 255, 1]]
    assert confident_labels(scores, torch.tensor([0.9, 0.35])).tolist() == [[0, 1, 1], [1, 255, 1]]
    assert confident_labels(scores, torch.tensor([0.0, 0.0]).clamp_min(1e-6)).dtype == torch.uint8
