"""The pictures of a validation: the first images with their targets and predictions."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from utils.batch import DeviceBatch
from utils.dataset_info import DatasetInfo
from utils.visualize import prediction_grid


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
            picture = denormalise(batch.images[index], self.info)
            target = batch.target[index].byte().cpu().numpy()
            self._rows.append((picture, target, prediction[index].byte().cpu().numpy()))

    def draw(self) -> np.ndarray:
        """An (H, W, 3) uint8 picture: a row per image."""
        images, targets, predictions = zip(*self._rows, strict=True)
        return prediction_grid(list(images), list(targets), list(predictions), self.info)


def denormalise(image: Tensor, info: DatasetInfo) -> np.ndarray:
    """Turn a normalised (C, H, W) image back into (H, W, C) uint8."""
    mean, std = (torch.tensor(v, device=image.device).view(-1, 1, 1) for v in (info.mean, info.std))
    pixels = image.float().mul(std).add(mean).mul(255).round().clamp(0, 255)
    return pixels.byte().permute(1, 2, 0).contiguous().cpu().numpy()
