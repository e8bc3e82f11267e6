"""Arithmetic on scores: softmax against float64, argmax against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from utils.predict.scores import LOG2_E, add_softmax, add_softmax_base2, argmax_classes, exp_is_safe, scroll


@pytest.mark.parametrize("classes", [1, 2, 5, 90])
@pytest.mark.parametrize("spread", [1.0, 90.0, 3000.0])
def test_added_probabilities_are_those_of_a_softmax_in_float64(classes, spread):
    logits = torch.randn(6, 7, classes, generator=torch.Generator().manual_seed(0)) * spread
    weight = torch.linspace(0.1, 1, 42).view(6, 7)
    exact = logits.double().sigmoid() if classes == 1 else logits.double().softmax(-1)
    target = torch.ones_like(logits)
    assert exp_is_safe(logits) == (spread < 10)
    if exp_is_safe(logits) and classes > 1:
        add_softmax_base2(target, logits * LOG2_E, weight)
    else:
        add_softmax(target, logits, weight)
    torch.testing.assert_close(target.double(), 1 + exact * weight[..., None], atol=1e-6, rtol=0)
    assert torch.isfinite(target).all()


def test_safe_logits_have_a_normal_sum_of_exponentials_for_255_classes():
    for value in (-79.9, 79.9):
        logits = torch.full((1, 1, 255), value)
        total = logits.exp().sum()
        assert exp_is_safe(logits) and torch.finfo().tiny < total < torch.finfo().max
    assert not exp_is_safe(torch.tensor([[[0.0, 80.0]]])) and not exp_is_safe(torch.tensor([[[0.0, -80.0]]]))
    assert not exp_is_safe(torch.tensor([[[0.0, float("nan")]]]))


def test_the_best_class_is_numpys_argmax_and_the_first_of_equals():
    scores = torch.randint(0, 4, (50, 7, 6), generator=torch.Generator().manual_seed(0)).float()
    classes = argmax_classes(scores)
    assert classes.dtype == torch.uint8
    assert np.array_equal(classes.numpy(), scores.numpy().argmax(-1))


def test_a_single_class_is_0_from_one_half_on_and_void_below():
    scores = torch.tensor([0.0, 0.49999, 0.5, 1.0]).view(2, 2, 1)
    assert argmax_classes(scores).tolist() == [[255, 255], [0, 0]]


@pytest.mark.parametrize("rows", [1, 3, 5, 9, 10])
def test_scrolling_moves_rows_up_and_clears_the_rest(rows):
    content = torch.arange(1.0, 61).view(10, 2, 3)
    buffer = content.clone()
    scroll(buffer, rows)
    assert torch.equal(buffer[: 10 - rows], content[rows:])
    assert not buffer[10 - rows :].any()
