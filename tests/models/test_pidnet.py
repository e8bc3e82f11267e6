"""PIDNet's heads and its training loss."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from base import SegmentationOutput
from models.pidnet import PIDNet, _PixelAttention
from models.pidnet_loss import BoundaryGuidedLoss, boundary_of
from utils.losses import CrossEntropyLoss2d
from utils.losses.training import DeepSupervision

VOID = 255


def brute_force(target: torch.Tensor) -> torch.Tensor:
    """Boundary pixels by looking at every pixel of the 5x5 window."""
    found = torch.zeros_like(target, dtype=torch.bool)
    images, height, width = target.shape
    for n in range(images):
        for y in range(height):
            for x in range(width):
                window = target[n, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
                others = (window != target[n, y, x]) & (window != VOID)
                found[n, y, x] = bool(others.any()) and bool(target[n, y, x] != VOID)
    return found


def test_boundaries_are_near_another_class_and_never_void():
    torch.manual_seed(0)
    target = torch.zeros(2, 12, 14, dtype=torch.long)
    target[0, :, 7:] = 3
    target[1, 4:6, 4:6] = 1
    target[1, 8:, :] = VOID
    boundary, valid = boundary_of(target, VOID)
    assert torch.equal(boundary, brute_force(target))
    assert torch.equal(valid, target != VOID)
    assert boundary[0].sum() == 12 * 4  # two pixels on either side of a straight border
    noise = torch.randint(0, 4, (1, 9, 9)).where(torch.rand(1, 9, 9) > 0.9, VOID)
    assert torch.equal(boundary_of(noise, VOID)[0], brute_force(noise))


def outputs(images: int) -> tuple[SegmentationOutput, torch.Tensor]:
    """Outputs for images of 20x30 pixels, which are padded to 64x64."""
    draw = torch.Generator().manual_seed(0)
    logits, aux = (torch.randn(images, 3, 20, 30, generator=draw, requires_grad=True) for _ in range(2))
    boundary = 3 * torch.randn(images, 1, 8, 8, generator=draw)
    target = torch.zeros(images, 20, 30, dtype=torch.long)
    target[:, 5:12, 8:20] = 1
    target[0, :, 24:] = VOID
    return SegmentationOutput(logits, (aux,), (boundary.requires_grad_(),)), target


def test_the_loss_is_the_paper_s():
    output, target = outputs(2)
    losses = BoundaryGuidedLoss(CrossEntropyLoss2d(), 0.4, 20)(output, target)
    main, aux = (F.cross_entropy(x, target, ignore_index=VOID) for x in (output.logits, output.aux[0]))
    head = F.interpolate(output.extra[0], size=(64, 64), mode="bilinear", align_corners=False)[:, 0, :20, :30]
    boundary, valid = brute_force(target), target != VOID
    positive = (boundary.sum() / valid.sum()).item()
    weight = torch.where(boundary, 1 - positive, positive)[valid]
    entropy = F.binary_cross_entropy_with_logits(head[valid], boundary[valid].float(), weight)
    near = target.where(head.sigmoid() > 0.8, VOID)
    guided = F.cross_entropy(output.logits, near, ignore_index=VOID)
    for name, expected in (
        ("loss_main", main), ("loss_aux", aux), ("loss_boundary", 20 * entropy), ("loss_near_boundary", guided),
        ("loss", main + 0.4 * aux + 20 * entropy + guided),
    ):  # fmt: skip
        torch.testing.assert_close(losses[name], expected, msg=lambda text, name=name: f"{name}: {text}")


def test_parts_of_a_step_add_up_but_for_the_pixels_that_the_prediction_chooses():
    output, target = outputs(4)
    criterion = BoundaryGuidedLoss(CrossEntropyLoss2d(), 0.4)
    big = criterion(output, target)
    halves = [slice(0, 1), slice(1, 4)]
    normalizer = torch.stack([criterion.normalizer(target[half]) for half in halves]).sum(dim=0)
    parts = [
        criterion(
            SegmentationOutput(output.logits[h], (output.aux[0][h],), (output.extra[0][h],)),
            target[h],
            normalizer,
        )
        for h in halves
    ]
    for name in ("loss_main", "loss_aux", "loss_boundary"):
        torch.testing.assert_close(parts[0][name] + parts[1][name], big[name])


def test_void_has_no_gradient_and_a_step_of_void_costs_nothing():
    output, target = outputs(2)
    criterion = BoundaryGuidedLoss(CrossEntropyLoss2d(), 0.4)
    criterion(output, target)["loss"].backward()
    assert not output.logits.grad[0, :, :, 24:].any() and output.logits.grad[0, :, :, :24].any()
    assert output.extra[0].grad.any()
    losses = criterion(outputs(2)[0], torch.full_like(target, VOID))
    assert all(loss == 0 for loss in losses.values())


def test_half_precision_is_computed_in_full():
    output, target = outputs(2)
    half = SegmentationOutput(*(tuple(x.bfloat16() for x in p) for p in ((output.logits,), *output[1:])))
    half = half._replace(logits=half.logits[0])
    losses = BoundaryGuidedLoss(CrossEntropyLoss2d(), 0.4)(half, target)
    assert losses["loss"].dtype == torch.float32


def test_heads_exist_in_training_only_and_the_config_s_loss_serves_without_them():
    with_heads, without = PIDNet(3), PIDNet(3, use_aux=False)
    output = with_heads(torch.randn(2, 3, 70, 60))
    assert output.aux[0].shape == (2, 3, 70, 60)
    assert output.extra[0].shape == (2, 1, 16, 8)  # of the image padded to 128x64
    pixel = CrossEntropyLoss2d()
    assert isinstance(with_heads.build_criterion(pixel, 0.4), BoundaryGuidedLoss)
    assert type(without.build_criterion(pixel, 0.4)) is DeepSupervision
    images = torch.randn(2, 3, 64, 64)
    assert without(images)[1:] == with_heads.eval()(images)[1:] == ((), ())


@pytest.mark.parametrize(("sign", "expected"), [(1, "context"), (-1, "detail")])
def test_context_is_taken_where_it_agrees_with_the_detail(sign, expected):
    attention = _PixelAttention(4, 4).eval()
    attention.compress = torch.nn.Identity()
    attention.of_detail = attention.of_context = torch.nn.Identity()
    detail = torch.full((1, 4, 6, 6), 5.0)
    context = torch.full((1, 4, 3, 3), 7.0 * sign)
    taken = attention(detail, context)
    assert torch.allclose(taken, torch.tensor(7.0 if expected == "context" else 5.0), atol=1e-4)
