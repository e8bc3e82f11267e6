"""The contract of every loss."""

from __future__ import annotations

import inspect

import pytest
import torch
import torch.nn.functional as F

from tests.utils.losses.examples import MADE, SMOOTH, each_loss, small_batch
from utils.losses import CrossEntropyLoss2d
from utils.losses.build import LOSSES


def test_every_loss_is_tested():
    assert set(LOSSES.classes()) <= set(MADE)


def test_signatures_are_plain():
    for cls in LOSSES.classes().values():
        kinds = {p.kind for p in inspect.signature(cls).parameters.values()}
        assert kinds == {inspect.Parameter.POSITIONAL_OR_KEYWORD}


@pytest.mark.slow
@pytest.mark.parametrize("loss", SMOOTH.values(), ids=SMOOTH)
def test_gradient_matches_finite_differences(loss):
    logits, target = small_batch()
    assert torch.autograd.gradcheck(lambda x: loss(x, target), (logits.requires_grad_(True),))


@each_loss
def test_void_has_no_gradient_and_no_say(loss):
    logits, target = small_batch()
    logits.requires_grad_(True)
    value = loss(logits, target)
    value.backward()
    void = (target == 255)[:, None].expand_as(logits)
    assert not logits.grad[void].any() and logits.grad[~void].any()
    other = torch.where(void, torch.full_like(logits, 77.0), logits)
    assert loss(other, target).item() == pytest.approx(value.item(), abs=1e-12)


@each_loss
def test_all_void_is_zero_with_zero_gradient(loss):
    logits, target = small_batch(dtype=torch.float32)
    logits.requires_grad_(True)
    value = loss(logits, torch.full_like(target, 255))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None and not logits.grad.any()


@each_loss
def test_one_valid_pixel(loss):
    logits, target = small_batch(dtype=torch.float32)
    target = torch.full_like(target, 255)
    target[1, 2, 3] = 1
    logits.requires_grad_(True)
    value = loss(logits, target)
    value.backward()
    assert value.isfinite() and logits.grad.isfinite().all() and logits.grad[1, :, 2, 3].any()


@each_loss
def test_arguments_are_not_changed(loss):
    logits, target = small_batch()
    before = logits.clone(), target.clone()
    loss(logits, target)
    assert torch.equal(logits, before[0]) and torch.equal(target, before[1])


@each_loss
def test_half_precision_and_autocast_compute_in_fp32(loss):
    logits, target = small_batch(dtype=torch.bfloat16)
    plain = loss(logits.float(), target)
    with torch.autocast("cpu", torch.bfloat16):
        fast = loss(logits, target)
    assert fast.dtype == torch.float32
    assert fast.item() == pytest.approx(plain.item(), abs=1e-6)


@each_loss
def test_memory_layout_does_not_matter(loss):
    logits, target = small_batch()
    last = logits.clone(memory_format=torch.channels_last)
    assert loss(last, target).item() == pytest.approx(loss(logits, target).item(), abs=1e-12)


@each_loss
def test_a_near_perfect_prediction_costs_next_to_nothing(loss):
    _, target = small_batch()
    labels = target.masked_fill(target == 255, 0)
    logits = F.one_hot(labels, 3).permute(0, 3, 1, 2).double() * 60 - 30
    floor = 2.1 if loss is MADE["smoothed"] else 1e-6  # smoothing never lets a certain answer be free
    assert -1e-12 <= loss(logits, target).item() <= floor * (60 if floor > 1 else 1)


@each_loss
def test_deterministic_mode(loss):
    logits, target = small_batch(dtype=torch.float32)
    torch.use_deterministic_algorithms(True)
    try:
        grads = []
        for _ in range(2):
            x = logits.clone().requires_grad_(True)
            loss(x, target).backward()
            grads.append(x.grad)
        assert torch.equal(*grads)
    finally:
        torch.use_deterministic_algorithms(False)


EXACT_PARTS = ["BCELoss", "BoundaryCrossEntropy", "CrossEntropyLoss2d", "FocalLoss", "smoothed", "weighted focal",
               "weighted BCE", "Lovász per image", "Dice per image"]  # fmt: skip


@pytest.mark.parametrize("name", EXACT_PARTS)
def test_parts_of_a_step_add_up_to_the_big_batch(name):
    loss = MADE[name]
    logits, target = small_batch()
    assert (target[0] == 255).sum() != (target[1] == 255).sum()
    whole = loss.normalizer(target)
    parts = sum(loss(logits[i : i + 1], target[i : i + 1], whole) for i in range(2))
    assert parts.item() == pytest.approx(loss(logits, target).item(), rel=1e-6)


@pytest.mark.parametrize("name", ["DiceLoss", "LovaszSoftmax", "CE_DiceLoss", "Sum"])
def test_parts_of_region_losses_are_averaged_by_their_share(name):
    loss = MADE[name]
    logits, target = small_batch()
    whole = loss.normalizer(target)
    parts = [(logits[i : i + 1], target[i : i + 1]) for i in range(2)]
    shares = [(loss.normalizer(t) / whole).item() for _, t in parts]
    expected = sum(share * loss(x, t).item() for share, (x, t) in zip(shares, parts, strict=True))
    assert sum(loss(x, t, whole).item() for x, t in parts) == pytest.approx(expected, rel=1e-6)
    empty = torch.full_like(target, 255)
    assert loss.normalizer(empty) == 0 and loss(logits, empty, whole) == 0


@pytest.mark.parametrize("weight", [[1, -1], [0, 0], [1, float("nan")], [[1, 2]]])
def test_bad_class_weights_are_refused(weight):
    with pytest.raises(ValueError, match="weight"):
        CrossEntropyLoss2d(weight)
