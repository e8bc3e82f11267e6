"""Losses and metrics of an epoch so far."""

from __future__ import annotations

import pytest
import torch

from utils.training.figures import RunningFigures


def filled() -> RunningFigures:
    """Four pixels, three of them valid, two predicted right; a loss of 0.5 per valid pixel."""
    figures = RunningFigures(("a", "b"))
    valid = torch.tensor(3.0)
    figures.add_losses({"loss": torch.tensor(0.5)}, valid, valid)
    figures.add_prediction(torch.tensor([[[0, 1], [1, 0]]]), torch.tensor([[[0, 1], [0, 255]]]))
    return figures


def test_losses_and_metrics_are_those_of_the_pixels_counted():
    record = filled().compute()
    assert record["loss"] == pytest.approx(0.5)
    assert record["Pixel_Accuracy"] == pytest.approx(2 / 3)
    assert record["Class_IoU"] == {"a": pytest.approx(1 / 2), "b": pytest.approx(1 / 2)}
    assert record["Mean_IoU"] == filled().metrics().mean_iou


def test_a_state_holds_both_and_a_reset_forgets_both():
    figures, copy = filled(), RunningFigures(("a", "b"))
    copy.load_state_dict(figures.state_dict())
    assert copy.compute() == figures.compute()
    assert figures.state_dict().keys() == {"confusion", "losses"}  # names in a checkpoint
    figures.reset()
    assert figures.losses() == {}
    assert figures.metrics().matrix.sum() == 0
    assert copy.metrics().matrix.sum() == 3
