"""Losses over pixels against torch and independent definitions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.utils.losses.examples import small_batch
from utils.losses import BCELoss, BoundaryCrossEntropy, CrossEntropyLoss2d, FocalLoss, OhemCrossEntropy


@pytest.mark.parametrize(
    ("loss", "full", "void"),
    [
        (CrossEntropyLoss2d(), 1.8744089377, 1.9740649449),
        (FocalLoss(), 1.5396219955, 1.6617367295),
        (FocalLoss(gamma=0), 1.8744089377, 1.9740649449),
    ],
)
def test_known_values(loss, full, void):
    assert loss(*small_batch(void=False)).item() == pytest.approx(full, abs=1e-10)
    assert loss(*small_batch()).item() == pytest.approx(void, abs=1e-10)
    assert loss(*small_batch(dtype=torch.float32)).item() == pytest.approx(void, abs=2e-6)


def test_cross_entropy_equals_torch():
    logits, target = small_batch()
    weight = [0.2, 3.0, 1.0]
    for smoothing in (0.0, 0.2):
        ours = CrossEntropyLoss2d(weight, label_smoothing=smoothing)(logits, target)
        torchs = F.cross_entropy(
            logits, target, torch.tensor(weight).double(), ignore_index=255, label_smoothing=smoothing
        )
        assert ours.item() == pytest.approx(torchs.item(), rel=1e-6)


def test_bce_equals_torch():
    logits, target = small_batch()
    valid = target != 255
    one = F.binary_cross_entropy_with_logits(logits[:, 0][valid], (target[valid] > 0).double())
    assert BCELoss()(logits[:, :1], target).item() == pytest.approx(one.item(), rel=1e-7)
    hot = F.one_hot(target.masked_fill(~valid, 0), 3).double()[valid]
    many = F.binary_cross_entropy_with_logits(logits.permute(0, 2, 3, 1)[valid], hot)
    assert BCELoss()(logits, target).item() == pytest.approx(many.item(), rel=1e-7)


def test_ohem_keeps_the_hard_pixels():
    logits, target = small_batch()
    entropy = F.cross_entropy(logits, target, ignore_index=255, reduction="none")[target != 255]
    hard = entropy[entropy > -torch.log(torch.tensor(0.3, dtype=torch.float64))]
    assert 5 < len(hard) < len(entropy)
    assert OhemCrossEntropy(0.3, 5)(logits, target).item() == pytest.approx(hard.mean().item(), rel=1e-6)
    least = entropy.topk(len(hard) + 4).values
    found = OhemCrossEntropy(0.3, len(hard) + 4)(logits, target).item()
    assert found == pytest.approx(least.mean().item(), rel=1e-6)
    everything = OhemCrossEntropy(0.3, 10_000)(logits, target).item()
    assert everything == pytest.approx(entropy.mean().item(), rel=1e-6)


def test_boundary_weights_lie_on_boundaries():
    target = torch.zeros(1, 6, 9, dtype=torch.int64)
    target[..., 5:] = 1
    target[:, 0] = 255
    factor = BoundaryCrossEntropy(boundary_weight=4, radius=2)._factor(target)
    assert factor[0, 3].tolist() == [1, 1, 1, 4, 4, 4, 4, 1, 1]
    assert torch.equal(factor[0, 1, :3], torch.ones(3))  # the border to void is no boundary


def test_focal_loss_is_its_formula():
    logits, target = small_batch()
    valid = target != 255
    true = logits.log_softmax(1).gather(1, target.masked_fill(~valid, 0)[:, None])[:, 0][valid]
    weight = torch.tensor([0.2, 3.0, 1.0], dtype=torch.float64)[target[valid]]
    terms = -((1 - true.exp()) ** 1.5) * true
    assert FocalLoss(1.5)(logits, target).item() == pytest.approx(terms.mean().item(), rel=1e-6)
    mean = (terms * weight).sum() / weight.sum()
    assert FocalLoss(1.5, weight=[0.2, 3.0, 1.0])(logits, target).item() == pytest.approx(
        mean.item(), rel=1e-6
    )
