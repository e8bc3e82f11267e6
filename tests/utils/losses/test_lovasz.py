"""The Lovász-softmax against its definition."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.utils.losses.examples import small_batch
from utils.losses import LovaszSoftmax
from utils.losses.lovasz import _bins, _steps, lovasz_gradient


@pytest.mark.parametrize(
    ("loss", "full", "void"),
    [
        (LovaszSoftmax(), 0.7549054, 0.7712715),
        (LovaszSoftmax(exact=True), 0.7549054, 0.7712715),
        (LovaszSoftmax(per_image=True), 0.7512154, 0.7691514),
        (LovaszSoftmax(per_image=True, exact=True), 0.7512154, 0.7691514),
    ],
)
def test_known_values(loss, full, void):
    assert loss(*small_batch(void=False)).item() == pytest.approx(full, abs=2e-7)
    assert loss(*small_batch()).item() == pytest.approx(void, abs=2e-7)
    assert loss(*small_batch(dtype=torch.float32)).item() == pytest.approx(void, abs=2e-6)


def test_lovasz_histogram_is_close_to_the_definition():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((2, 6, 48, 64), generator=generator, dtype=torch.float64) * 2
    target = torch.randint(0, 5, (2, 48, 64), generator=generator)  # class 5 is absent
    target[:, :5] = 255
    for options in ({}, {"classes": "all"}, {"per_image": True}):
        pair = []
        for exact in (False, True):
            x = logits.clone().requires_grad_(True)
            value = LovaszSoftmax(exact=exact, **options)(x, target)
            value.backward()
            pair.append((value.item(), x.grad))
        (fast, fast_grad), (slow, slow_grad) = pair
        assert fast == pytest.approx(slow, abs=1e-4)
        # every pixel's gradient by the definition depends on its rank, which ties in a bin share
        assert ((fast_grad - slow_grad).norm() / slow_grad.norm()) < 0.02


def test_lovasz_of_hard_predictions_is_the_jaccard_index():
    _, target = small_batch(void=False)
    guess = (target + (torch.arange(40).view(2, 4, 5) % 3 == 0)) % 3
    logits = F.one_hot(guess, 3).permute(0, 3, 1, 2).double() * 200
    jaccard = []
    for c in range(3):
        a, b = guess == c, target == c
        jaccard.append(1 - (a & b).sum() / (a | b).sum())
    for exact in (False, True):
        found = LovaszSoftmax(exact=exact)(logits, target).item()
        assert found == pytest.approx(torch.stack(jaccard).mean().item(), abs=1e-6)


def test_lovasz_gradient_of_the_paper():
    found = lovasz_gradient(torch.tensor([1.0, 1, 0, 1, 0]))
    assert torch.allclose(found, torch.tensor([1 / 3, 1 / 3, 1 / 12, 1 / 4, 0]), atol=1e-7)


@pytest.mark.parametrize(
    ("classes", "bins"), [(2, 16384), (32, 16384), (33, 8192), (64, 8192), (65, 4096), (900, 4096)]
)
def test_many_classes_get_fewer_bins(classes, bins):
    assert _bins(classes) == bins


def test_the_steps_of_all_pixels_add_up_to_the_whole_loss():
    draw = torch.Generator().manual_seed(0)
    foreground, background = (torch.randint(0, 4, (3, 16), generator=draw) for _ in range(2))
    foreground[2] = 0  # an absent class: the loss still grows from 0 to 1
    share = torch.tensor([0.5, 0.3, 0.2])
    steps = _steps(foreground, background, share)
    growth = steps[0] * foreground + steps[1] * background
    assert torch.allclose(growth.sum(dim=1), share)
