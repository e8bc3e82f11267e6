"""Losses of overlap against their formulas."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.utils.losses.examples import small_batch
from utils.losses import DiceLoss, JaccardLoss, TverskyLoss


@pytest.mark.parametrize(
    ("loss", "full", "void"),
    [
        (DiceLoss(), 0.6477085207, 0.6563383257),
        (DiceLoss(micro=True), 0.6633420068, 0.6757694899),
        (TverskyLoss(0.5, 0.5, smooth=0.5), 0.6477085207, 0.6563383257),
    ],
)
def test_known_values(loss, full, void):
    assert loss(*small_batch(void=False)).item() == pytest.approx(full, abs=1e-10)
    assert loss(*small_batch()).item() == pytest.approx(void, abs=1e-10)
    assert loss(*small_batch(dtype=torch.float32)).item() == pytest.approx(void, abs=2e-6)


@pytest.mark.parametrize(
    ("loss", "ratio"),
    [
        (DiceLoss(smooth=0.5), lambda i, p, t: (2 * i + 0.5) / (p + t + 0.5)),
        (JaccardLoss(smooth=0.5), lambda i, p, t: (i + 0.5) / (p + t - i + 0.5)),
        (TverskyLoss(0.2, 0.9, 0.5), lambda i, p, t: (i + 0.5) / (i + 0.2 * (p - i) + 0.9 * (t - i) + 0.5)),
    ],
)
def test_overlap_losses_equal_their_formulas(loss, ratio):
    logits, target = small_batch()
    valid = (target != 255).flatten()
    p = logits.softmax(1).transpose(0, 1).flatten(1)[:, valid]
    t = F.one_hot(target.flatten()[valid], 3).t().double()
    value, grad = [], []
    for compute in (
        lambda x: loss(x, target),
        lambda x: (
            1
            - torch.stack(
                [
                    ratio((a * b).sum(), a.sum(), b.sum())
                    for a, b in zip(x.softmax(1).transpose(0, 1).flatten(1)[:, valid], t, strict=True)
                ]
            )
        ).mean(),
    ):
        x = logits.clone().requires_grad_(True)
        result = compute(x)
        result.backward()
        value.append(result.item())
        grad.append(x.grad)
    assert p.shape == t.shape
    assert value[0] == pytest.approx(value[1], abs=1e-12)
    assert torch.allclose(*grad, atol=1e-14)


def test_dice_counts_present_classes_or_all():
    logits, target = small_batch()
    target = target.masked_fill(target == 2, 1)
    one = DiceLoss(smooth=0, classes="present")(logits, target)
    everything = DiceLoss(smooth=0, classes="all")(logits, target)
    assert everything.item() == pytest.approx((2 * one.item() + 1) / 3, abs=1e-9)
    no_background = DiceLoss(smooth=0, include_background=False)(logits, target)
    weights = DiceLoss(smooth=0, weight=[0.0, 1.0, 1.0])(logits, target)
    assert no_background.item() == pytest.approx(weights.item(), abs=1e-12)


def test_one_figure_over_all_classes_has_no_class_weights():
    with pytest.raises(ValueError, match="micro: sums over all classes have no class weights"):
        DiceLoss(micro=True, weight=[1, 2, 3])


def test_images_without_a_valid_pixel_do_not_count_in_the_average_of_images():
    logits, target = small_batch()
    target = torch.stack([target[0], torch.full_like(target[0], 255)])
    alone = DiceLoss(per_image=True)(logits[:1], target[:1])
    assert DiceLoss(per_image=True)(logits, target).item() == pytest.approx(alone.item(), abs=1e-12)
