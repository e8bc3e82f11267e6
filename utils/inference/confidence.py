"""Confidence of a prediction: thresholds for each class, and labels that are void below them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from utils.dataset_info import IGNORE_INDEX

_SHIFT = 14  # bits of a float32 that a bin leaves out: bins of 1 - p are at most 1/512 of it wide
_BINS = (int(np.float32(1).view(np.int32)) >> _SHIFT) + 1
_LOWEST = 1e-6


class ConfidenceHistogram:
    """Counts how sure predictions are of each class, for thresholds that keep equal shares of all classes.

    Zou et al., "Unsupervised Domain Adaptation for Semantic Segmentation via Class-Balanced Self-Training", 2018:
    one threshold for all classes would leave the rare and difficult ones without a label.

    Args:
        num_classes: number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        self._counts = np.zeros((num_classes, _BINS), dtype=np.int64)

    def add(self, scores: Tensor) -> None:
        """Count the pixels of (rows, W, C) probabilities."""
        confidence, label = scores.float().max(dim=-1)
        # the bits of floats above 0 have their order; 1 - p resolves what lies close to 1
        bins = (1 - confidence).clamp(0, 1).view(torch.int32) >> _SHIFT
        index = label * _BINS + bins
        counted = torch.bincount(index.flatten(), minlength=self._counts.size)
        self._counts += counted.cpu().numpy().reshape(self._counts.shape)

    def thresholds(self, share: float) -> tuple[float, ...]:
        """Return the probability that the most confident ``share`` (0..1) of each class's pixels reaches.

        A class that is predicted nowhere has the threshold 1.
        """
        found = []
        for counts in self._counts:
            total = int(counts.sum())
            reached = np.searchsorted(np.cumsum(counts), np.ceil(share * total)) if total else 0
            edge = np.int32(((int(reached) + 1) << _SHIFT) - 1).view(np.float32)
            found.append(max(float(np.float32(1) - edge), _LOWEST) if total else 1.0)
        return tuple(found)


def confident_labels(scores: Tensor, thresholds: Tensor) -> Tensor:
    """Return the class whose probability is highest relative to its threshold, void where none reaches it.

    Args:
        scores: (rows, W, C) probabilities.
        thresholds: (C,), above 0.

    Returns:
        (rows, W) uint8. With equal thresholds this is the best class, void below the threshold.
    """
    best, label = (scores.float() / thresholds.to(scores.device)).max(dim=-1)
    return torch.where(best >= 1, label, IGNORE_INDEX).to(torch.uint8)
