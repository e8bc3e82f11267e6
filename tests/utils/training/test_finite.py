"""The search for values that are not finite."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from utils.training.finite import all_finite, first_bad, gradient_norm, unbounded_buffers


def state() -> dict:
    weights = {
        "w": torch.ones(3),
        "n": torch.tensor(4),
        "empty": torch.ones(0),
        "half": torch.ones(2).bfloat16(),
    }
    optimizer = {
        "state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.ones(3)}},
        "param_groups": [{"lr": 1}],
    }
    return {"model": weights, "ema": {"w": torch.ones(3)}, "optimizer": optimizer}


def test_a_finite_state_passes():
    assert first_bad(state()) is None
    assert first_bad({**state(), "ema": None}) is None
    assert first_bad({"model": {"w": torch.full((4,), 3e38)}}) is None  # only its norm is infinite


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("part", "name"), [("model", "w"), ("model", "half"), ("ema", "w")])
def test_one_value_is_found_and_named(part, name, value):
    bad = state()
    bad[part][name][-1] = value
    assert first_bad(bad) == f"{part}.{name}"


def test_an_optimizer_may_hold_infinity_but_not_nan():
    bad = state()
    bad["optimizer"]["state"][0]["exp_avg"][1] = math.inf
    assert first_bad(bad) is None
    bad["optimizer"]["state"][0]["exp_avg"][2] = math.nan
    assert first_bad(bad) == "optimizer.state.0.exp_avg"


def test_constant_masks_are_no_fault():
    model = nn.Linear(2, 2)
    model.register_buffer("mask", torch.tensor([0.0, -math.inf]))
    constants = unbounded_buffers(model)
    assert constants == {"mask"}
    assert first_bad({"model": model.state_dict()}) == "model.mask"
    assert first_bad({"model": model.state_dict()}, constants) is None
    model.weight.data[0, 0] = math.nan
    assert first_bad({"model": model.state_dict()}, constants) == "model.weight"


def test_the_norm_is_that_of_all_gradients_together():
    assert gradient_norm([torch.tensor([3.0]), None, torch.tensor([[4.0]])]).item() == 5.0
    assert gradient_norm([]).item() == 0.0
    assert all_finite([None, torch.ones(2)]) and not all_finite([torch.tensor([1.0, math.nan])])
