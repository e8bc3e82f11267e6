"""Means of losses over batches of different weight."""

from __future__ import annotations

import math

import pytest
import torch

from utils.training.loss_meter import LossMeter


def add(meter: LossMeter, loss: float, scale: float, weight: float, name: str = "loss") -> None:
    meter.update({name: torch.tensor(loss)}, torch.tensor(scale), torch.tensor(weight))


def test_batches_count_by_their_weight():
    meter = LossMeter()
    add(meter, 2.0, 30.0, 30.0)
    add(meter, 8.0, 10.0, 10.0)
    assert meter.compute() == {"loss": pytest.approx(3.5)}


def test_parts_of_one_step_add_up_to_its_loss():
    meter = LossMeter()
    add(meter, 1.5, 40.0, 30.0)  # of 40 valid pixels of the step, 30 are in this part
    add(meter, 0.5, 40.0, 10.0)
    assert meter.compute() == {"loss": pytest.approx(2.0)}


def test_without_weight_a_mean_does_not_exist():
    meter = LossMeter()
    assert meter.compute() == {}
    add(meter, 0.0, 0.0, 0.0)
    assert math.isnan(meter.compute()["loss"])


def test_small_losses_beside_a_large_one_are_not_lost():
    meter = LossMeter()
    add(meter, 1e8, 1.0, 1.0)
    for _ in range(1000):
        add(meter, 1e-3, 1.0, 0.0)
    assert meter.compute()["loss"] - 1e8 == pytest.approx(1.0, rel=1e-4)  # float32 would add nothing


def test_a_state_continues_and_a_reset_forgets():
    meter, copy = LossMeter(), LossMeter()
    add(meter, 2.0, 3.0, 3.0)
    copy.load_state_dict(meter.state_dict())
    for each in (meter, copy):
        add(each, 4.0, 1.0, 1.0)
    assert copy.compute() == meter.compute() == {"loss": pytest.approx(2.5)}
    meter.reset()
    assert meter.compute() == {}
    assert copy.compute()
