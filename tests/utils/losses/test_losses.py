"""The contract of every loss, and each one against an independent definition."""

from __future__ import annotations

import inspect

import pytest
import torch
import torch.nn.functional as F

from utils import losses
from utils.errors import ConfigError
from utils.losses import (
    BCELoss,
    BoundaryCrossEntropy,
    CE_DiceLoss,
    CrossEntropyLoss2d,
    DiceLoss,
    FocalLoss,
    JaccardLoss,
    LovaszSoftmax,
    OhemCrossEntropy,
    Sum,
    TverskyLoss,
)
from utils.losses.build import LOSSES

MADE = {
    "BCELoss": BCELoss(),
    "BoundaryCrossEntropy": BoundaryCrossEntropy(radius=1),
    "CE_DiceLoss": CE_DiceLoss(),
    "CrossEntropyLoss2d": CrossEntropyLoss2d(),
    "DiceLoss": DiceLoss(),
    "FocalLoss": FocalLoss(),
    "JaccardLoss": JaccardLoss(),
    "LovaszSoftmax": LovaszSoftmax(),
    "LovaszSoftmax exact": LovaszSoftmax(exact=True),
    "OhemCrossEntropy": OhemCrossEntropy(min_kept=10),
    "Sum": Sum([{"type": "CrossEntropyLoss2d"}, {"type": "LovaszSoftmax", "weight": 0.5}]),
    "TverskyLoss": TverskyLoss(),
    # options with code of their own
    "smoothed": CrossEntropyLoss2d(label_smoothing=0.1, weight=[1, 2, 0.5]),
    "weighted focal": FocalLoss(weight=[1, 2, 0.5]),
    "weighted BCE": BCELoss(weight=[1, 2, 0.5]),
    "weighted CE_Dice": CE_DiceLoss(weight=[1, 2, 0.5], per_image=True),
    "Dice per image": DiceLoss(per_image=True, include_background=False, classes="all"),
    "Dice micro": DiceLoss(micro=True, smooth=0),
    "Lovász per image": LovaszSoftmax(per_image=True, weight=[1, 2, 0.5], classes="all"),
}
# the others are piecewise constant within a bin: they are compared with the exact variant
SMOOTH = {
    name: loss
    for name, loss in MADE.items()
    if getattr(loss, "exact", False) or not isinstance(loss, LovaszSoftmax | Sum)
}
each_loss = pytest.mark.parametrize("loss", MADE.values(), ids=MADE)


def fixture(void=True, dtype=torch.float64):
    """Logits (2, 3, 4, 5) and target, without random numbers."""
    i = torch.arange(120, dtype=torch.float64)
    logits = (2 * torch.sin(1.7 * i) + torch.cos(0.3 * i)).view(2, 3, 4, 5).to(dtype)
    target = ((7 * torch.arange(40)) % 3).view(2, 4, 5)
    if void:
        target[0, 0, :] = 255
        target[1, :, 4] = 255
    return logits, target


@pytest.mark.parametrize(
    ("loss", "full", "void"),
    [
        (CrossEntropyLoss2d(), 1.8744089377, 1.9740649449),
        (FocalLoss(), 1.5396219955, 1.6617367295),
        (DiceLoss(), 0.6477085207, 0.6563383257),
        (DiceLoss(micro=True), 0.6633420068, 0.6757694899),
        (CE_DiceLoss(), 1.8744089377 + 0.6477085207, 1.9740649449 + 0.6563383257),
        (LovaszSoftmax(), 0.7549054, 0.7712715),
        (LovaszSoftmax(exact=True), 0.7549054, 0.7712715),
        (LovaszSoftmax(per_image=True), 0.7512154, 0.7691514),
        (LovaszSoftmax(per_image=True, exact=True), 0.7512154, 0.7691514),
        (FocalLoss(gamma=0), 1.8744089377, 1.9740649449),
        (TverskyLoss(0.5, 0.5, smooth=0.5), 0.6477085207, 0.6563383257),
    ],
)
def test_known_values(loss, full, void):
    tolerance = 2e-7 if isinstance(loss, LovaszSoftmax) else 1e-10
    assert loss(*fixture(void=False)).item() == pytest.approx(full, abs=tolerance)
    assert loss(*fixture()).item() == pytest.approx(void, abs=tolerance)
    assert loss(*fixture(dtype=torch.float32)).item() == pytest.approx(void, abs=2e-6)


def test_every_loss_is_tested():
    assert set(LOSSES.classes()) <= set(MADE)


@pytest.mark.parametrize("loss", SMOOTH.values(), ids=SMOOTH)
def test_gradient_matches_finite_differences(loss):
    logits, target = fixture()
    assert torch.autograd.gradcheck(lambda x: loss(x, target), (logits.requires_grad_(True),))


@each_loss
def test_void_has_no_gradient_and_no_say(loss):
    logits, target = fixture()
    logits.requires_grad_(True)
    value = loss(logits, target)
    value.backward()
    void = (target == 255)[:, None].expand_as(logits)
    assert not logits.grad[void].any() and logits.grad[~void].any()
    other = torch.where(void, torch.full_like(logits, 77.0), logits)
    assert loss(other, target).item() == pytest.approx(value.item(), abs=1e-12)


@each_loss
def test_all_void_is_zero_with_zero_gradient(loss):
    logits, target = fixture(dtype=torch.float32)
    logits.requires_grad_(True)
    value = loss(logits, torch.full_like(target, 255))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None and not logits.grad.any()


@each_loss
def test_one_valid_pixel(loss):
    logits, target = fixture(dtype=torch.float32)
    target = torch.full_like(target, 255)
    target[1, 2, 3] = 1
    logits.requires_grad_(True)
    value = loss(logits, target)
    value.backward()
    assert value.isfinite() and logits.grad.isfinite().all() and logits.grad[1, :, 2, 3].any()


@each_loss
def test_arguments_are_not_changed(loss):
    logits, target = fixture()
    before = logits.clone(), target.clone()
    loss(logits, target)
    assert torch.equal(logits, before[0]) and torch.equal(target, before[1])


@each_loss
def test_half_precision_and_autocast_compute_in_fp32(loss):
    logits, target = fixture(dtype=torch.bfloat16)
    plain = loss(logits.float(), target)
    with torch.autocast("cpu", torch.bfloat16):
        fast = loss(logits, target)
    assert fast.dtype == torch.float32
    assert fast.item() == pytest.approx(plain.item(), abs=1e-6)


@each_loss
def test_memory_layout_does_not_matter(loss):
    logits, target = fixture()
    last = logits.clone(memory_format=torch.channels_last)
    assert loss(last, target).item() == pytest.approx(loss(logits, target).item(), abs=1e-12)


@each_loss
def test_a_near_perfect_prediction_costs_next_to_nothing(loss):
    _, target = fixture()
    labels = target.masked_fill(target == 255, 0)
    logits = F.one_hot(labels, 3).permute(0, 3, 1, 2).double() * 60 - 30
    floor = 2.1 if loss is MADE["smoothed"] else 1e-6  # smoothing never lets a certain answer be free
    assert -1e-12 <= loss(logits, target).item() <= floor * (60 if floor > 1 else 1)


@each_loss
def test_deterministic_mode(loss):
    logits, target = fixture(dtype=torch.float32)
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
    logits, target = fixture()
    assert (target[0] == 255).sum() != (target[1] == 255).sum()
    whole = loss.normalizer(target)
    parts = sum(loss(logits[i : i + 1], target[i : i + 1], whole) for i in range(2))
    assert parts.item() == pytest.approx(loss(logits, target).item(), rel=1e-6)


@pytest.mark.parametrize("name", ["DiceLoss", "LovaszSoftmax", "CE_DiceLoss", "Sum"])
def test_parts_of_region_losses_are_averaged_by_their_share(name):
    loss = MADE[name]
    logits, target = fixture()
    whole = loss.normalizer(target)
    parts = [(logits[i : i + 1], target[i : i + 1]) for i in range(2)]
    shares = [(loss.normalizer(t) / whole).item() for _, t in parts]
    expected = sum(share * loss(x, t).item() for share, (x, t) in zip(shares, parts, strict=True))
    assert sum(loss(x, t, whole).item() for x, t in parts) == pytest.approx(expected, rel=1e-6)
    empty = torch.full_like(target, 255)
    assert loss.normalizer(empty) == 0 and loss(logits, empty, whole) == 0


def test_cross_entropy_equals_torch():
    logits, target = fixture()
    weight = [0.2, 3.0, 1.0]
    for smoothing in (0.0, 0.2):
        ours = CrossEntropyLoss2d(weight, label_smoothing=smoothing)(logits, target)
        torchs = F.cross_entropy(
            logits, target, torch.tensor(weight).double(), ignore_index=255, label_smoothing=smoothing
        )
        assert ours.item() == pytest.approx(torchs.item(), rel=1e-6)


def test_bce_equals_torch():
    logits, target = fixture()
    valid = target != 255
    one = F.binary_cross_entropy_with_logits(logits[:, 0][valid], (target[valid] > 0).double())
    assert BCELoss()(logits[:, :1], target).item() == pytest.approx(one.item(), rel=1e-7)
    hot = F.one_hot(target.masked_fill(~valid, 0), 3).double()[valid]
    many = F.binary_cross_entropy_with_logits(logits.permute(0, 2, 3, 1)[valid], hot)
    assert BCELoss()(logits, target).item() == pytest.approx(many.item(), rel=1e-7)


@pytest.mark.parametrize(
    ("loss", "ratio"),
    [
        (DiceLoss(smooth=0.5), lambda i, p, t: (2 * i + 0.5) / (p + t + 0.5)),
        (JaccardLoss(smooth=0.5), lambda i, p, t: (i + 0.5) / (p + t - i + 0.5)),
        (TverskyLoss(0.2, 0.9, 0.5), lambda i, p, t: (i + 0.5) / (i + 0.2 * (p - i) + 0.9 * (t - i) + 0.5)),
    ],
)
def test_overlap_losses_equal_their_formulas(loss, ratio):
    logits, target = fixture()
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
    logits, target = fixture()
    target = target.masked_fill(target == 2, 1)
    one = DiceLoss(smooth=0, classes="present")(logits, target)
    everything = DiceLoss(smooth=0, classes="all")(logits, target)
    assert everything.item() == pytest.approx((2 * one.item() + 1) / 3, abs=1e-9)
    no_background = DiceLoss(smooth=0, include_background=False)(logits, target)
    weights = DiceLoss(smooth=0, weight=[0.0, 1.0, 1.0])(logits, target)
    assert no_background.item() == pytest.approx(weights.item(), abs=1e-12)


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
    _, target = fixture(void=False)
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
    found = losses.lovasz.lovasz_gradient(torch.tensor([1.0, 1, 0, 1, 0]))
    assert torch.allclose(found, torch.tensor([1 / 3, 1 / 3, 1 / 12, 1 / 4, 0]), atol=1e-7)


def test_ohem_keeps_the_hard_pixels():
    logits, target = fixture()
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


def test_sum_builds_its_terms():
    logits, target = fixture()
    terms = [{"type": "CrossEntropyLoss2d"}, {"type": "DiceLoss", "args": {"smooth": 0.5}, "weight": 0.25}]
    expected = CrossEntropyLoss2d()(logits, target) + 0.25 * DiceLoss(0.5)(logits, target)
    assert Sum(terms)(logits, target).item() == pytest.approx(expected.item(), abs=1e-12)
    weighted = Sum(terms, weight=[1.0, 2.0, 3.0])
    assert [term.weight.tolist() for term in weighted.terms] == [[1, 2, 3], [1, 2, 3]]
    assert weighted.to("meta").terms[0].weight.device.type == "meta"


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([{"type": "DiceLos"}], r"terms\[0\]\.type.*did you mean 'DiceLoss'"),
        ([{"type": "DiceLoss", "args": {"smoth": 1}}], r"terms\[0\]\.args\.smoth.*'smooth'"),
        ([{"type": "DiceLoss", "factor": 1}], r"terms\[0\]\.factor"),
        ([{"type": "DiceLoss"}, {"type": "DiceLoss", "weight": -1}], r"terms\[1\]\.weight"),
        ([{"weight": 1}], r"terms\[0\]\.type"),
    ],
)
def test_sum_names_its_mistakes(terms, message):
    with pytest.raises(ConfigError, match=message):
        Sum(terms)


@pytest.mark.parametrize("weight", [[1, -1], [0, 0], [1, float("nan")], [[1, 2]]])
def test_bad_class_weights_are_refused(weight):
    with pytest.raises(ValueError, match="weight"):
        CrossEntropyLoss2d(weight)


def test_signatures_are_plain():
    for cls in LOSSES.classes().values():
        kinds = {p.kind for p in inspect.signature(cls).parameters.values()}
        assert kinds == {inspect.Parameter.POSITIONAL_OR_KEYWORD}
