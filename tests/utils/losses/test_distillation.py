"""Distillation: the divergence by hand and by torch's own, gradients, parts of a step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from base import SegmentationOutput
from tests.utils.losses.test_training import BoundaryLoss
from utils.losses import CrossEntropyLoss2d
from utils.losses.distillation import OUTSIDE, Distillation
from utils.losses.training import DeepSupervision, TrainingLoss


def drawn(images: int, dtype=torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits of a student, an auxiliary or boundary head, a teacher, and a target with void and padding."""
    draw = torch.Generator().manual_seed(0)
    student, aux, teacher = (3 * torch.randn(images, 3, 6, 7, generator=draw, dtype=dtype) for _ in range(3))
    target = torch.randint(0, 3, (images, 6, 7), generator=draw)
    target[0, :2] = 255
    target[0, 5] = OUTSIDE
    return student.requires_grad_(), aux.requires_grad_(), teacher, target


def test_the_loss_is_that_of_the_labels_and_the_divergence_from_the_teacher_on_every_pixel_of_the_images():
    student, aux, teacher, target = drawn(2)
    criterion = Distillation(DeepSupervision(CrossEntropyLoss2d(), 0.4), weight=0.7, temperature=3.0)
    losses = criterion(SegmentationOutput(student, (aux,), (teacher,)), target)
    inside = target != OUTSIDE
    logs = [(logits / 3).log_softmax(1).permute(0, 2, 3, 1)[inside] for logits in (student, teacher)]
    divergence = 9 * kl_div(logs[0], logs[1], log_target=True, reduction="batchmean")  # mean over rows
    by_hand = sum((p * (p.log() - q)).sum() for p, q in zip(logs[1].exp(), logs[0], strict=True))
    assert divergence.item() == pytest.approx(9 * by_hand.item() / inside.sum().item())
    labels = target.masked_fill(~inside, 255)
    entropies = [cross_entropy(logits, labels, ignore_index=255) for logits in (student, aux)]
    assert losses["loss_distillation"].item() == pytest.approx(divergence.item())
    assert losses["loss_labels"].item() == pytest.approx((entropies[0] + 0.4 * entropies[1]).item())
    assert losses["loss_main"].item() == pytest.approx(entropies[0].item())
    assert losses["loss"].item() == pytest.approx((losses["loss_labels"] + 0.7 * divergence).item())


def test_gradients_reach_the_student_alone_and_void_pixels_but_no_padding():
    student, aux, teacher, target = drawn(2)
    teacher.requires_grad_()
    criterion = Distillation(DeepSupervision(CrossEntropyLoss2d()), 1.0, 2.0)
    criterion(SegmentationOutput(student, (aux,), (teacher.detach(),)), target)["loss"].backward()
    assert teacher.grad is None
    assert student.grad is not None and student.grad[0, :, :2].all() and not student.grad[0, :, 5].any()
    assert aux.grad is not None and not aux.grad[0, :, :2].any()  # the labels' part alone
    same = Distillation(DeepSupervision(CrossEntropyLoss2d()), 1.0, 2.0)
    losses = same(SegmentationOutput(student, (), (student.detach(),)), target)
    assert losses["loss_distillation"].item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("inner", [DeepSupervision(CrossEntropyLoss2d()), BoundaryLoss(CrossEntropyLoss2d())])
def test_parts_of_a_step_add_up_to_the_big_batch(inner: TrainingLoss):
    student, aux, teacher, target = drawn(4)
    criterion = Distillation(inner, 1.0, 2.0)
    extra = (aux[:, :1], teacher) if isinstance(inner, BoundaryLoss) else (teacher,)
    output = SegmentationOutput(student, (aux,), extra)
    whole = torch.autograd.grad(criterion(output, target)["loss"], student, retain_graph=True)[0]
    parts = [slice(0, 1), slice(1, 4)]
    normalizer = torch.stack([criterion.normalizer(target[part]) for part in parts]).sum(dim=0)
    assert normalizer[-1] == (target != OUTSIDE).sum()
    shares = [
        criterion(
            SegmentationOutput(student[part], (aux[part],), tuple(each[part] for each in extra)),
            target[part],
            normalizer,
        )["loss"]
        for part in parts
    ]
    summed = torch.autograd.grad(torch.stack(shares).sum(), student)[0]
    torch.testing.assert_close(summed, whole, rtol=1e-6, atol=1e-9)


def test_half_precision_is_computed_in_full_and_an_empty_batch_costs_nothing():
    student, aux, teacher, target = drawn(2, torch.bfloat16)
    criterion = Distillation(DeepSupervision(CrossEntropyLoss2d()), 1.0, 2.0)
    with torch.autocast("cpu", torch.bfloat16):
        loss = criterion(SegmentationOutput(student, (aux,), (teacher,)), target)["loss"]
    full = SegmentationOutput(student.float(), (aux.float(),), (teacher.float(),))
    assert loss.dtype == torch.float32 and torch.equal(loss, criterion(full, target)["loss"])
    assert criterion(full, torch.full_like(target, OUTSIDE))["loss"].item() == 0
