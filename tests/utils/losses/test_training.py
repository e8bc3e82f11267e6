"""The loss of a training step: deep supervision, and losses that models bring."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from base import SegmentationOutput
from utils.losses import CrossEntropyLoss2d
from utils.losses.training import DeepSupervision, TrainingLoss


class BoundaryLoss(DeepSupervision):
    """Deep supervision and a boundary head with its own target and divisor."""

    def normalizer(self, target: Tensor) -> Tensor:
        return torch.stack([super().normalizer(target), self._inner(target).sum().float()])

    def _shares(self, output, target, normalizer):
        losses = super()._shares(output, target, normalizer[0])
        (boundary,) = output.extra
        right = (target[:, :, 1:] != target[:, :, :-1]).float()
        each = binary_cross_entropy_with_logits(boundary[:, 0, :, 1:], right, reduction="none")
        share = each[self._inner(target)].sum() / normalizer[1].clamp_min(1)
        return {**losses, "loss": losses["loss"] + share, "loss_boundary": share}

    def _inner(self, target: Tensor) -> Tensor:
        valid = target != self.pixel.ignore_index
        return valid[:, :, 1:] & valid[:, :, :-1]


def outputs(images: int, dtype=torch.float64) -> tuple[SegmentationOutput, Tensor]:
    draw = torch.Generator().manual_seed(0)
    logits, aux, boundary = (torch.randn(images, c, 6, 7, generator=draw, dtype=dtype) for c in (3, 3, 1))
    target = torch.randint(0, 3, (images, 6, 7), generator=draw)
    target[0, :3] = 255
    for tensor in (logits, aux, boundary):
        tensor.requires_grad_()
    return SegmentationOutput(logits, (aux,), (boundary,)), target


def test_deep_supervision_is_the_main_loss_and_the_weighted_sum_of_the_auxiliary_ones():
    draw = torch.Generator().manual_seed(0)
    main, first, second = (torch.randn(2, 3, 5, 5, generator=draw) for _ in range(3))
    target = torch.randint(0, 3, (2, 5, 5), generator=draw)
    target[0, 0] = 255
    normalizer = torch.tensor(90.0)  # the valid pixels of this batch, 45, and of another one
    criterion = DeepSupervision(CrossEntropyLoss2d(), 0.25)
    losses = criterion(SegmentationOutput(main, (first, second)), target, normalizer)
    expected = [cross_entropy(logits, target, ignore_index=255) / 2 for logits in (main, first, second)]
    assert losses["loss_main"] == pytest.approx(float(expected[0]))
    assert losses["loss_aux"] == pytest.approx(float(expected[1] + expected[2]))
    assert losses["loss"] == pytest.approx(float(expected[0] + 0.25 * (expected[1] + expected[2])))
    assert criterion(SegmentationOutput(main), target, normalizer) == {"loss": losses["loss_main"]}


def test_parts_of_a_step_add_up_where_each_part_of_the_loss_has_its_own_divisor():
    criterion: TrainingLoss = BoundaryLoss(CrossEntropyLoss2d(), 0.4)
    output, target = outputs(4)
    big = criterion(output, target)["loss"].detach()
    parts = [slice(0, 1), slice(1, 4)]
    normalizer = torch.stack([criterion.normalizer(target[part]) for part in parts]).sum(dim=0)
    assert normalizer.shape == (2,)
    shares = [
        criterion(
            SegmentationOutput(output.logits[part], (output.aux[0][part],), (output.extra[0][part],)),
            target[part],
            normalizer,
        )["loss"].detach()
        for part in parts
    ]
    assert float(sum(shares)) == pytest.approx(float(big), rel=1e-6)
    assert float(shares[0]) != pytest.approx(float(big) / 4, rel=1e-3)  # void makes the first part smaller


def test_void_has_no_gradient():
    output, target = outputs(2)
    target[1] = 255
    BoundaryLoss(CrossEntropyLoss2d())(output, target)["loss"].backward()
    for tensor in (output.logits, output.aux[0], output.extra[0]):
        assert not tensor.grad[1].any() and not tensor.grad[0, :, :3].any()
        assert tensor.grad[0, :, 3:].any()


def test_half_precision_is_computed_in_full():
    output, target = outputs(2, torch.bfloat16)
    criterion = BoundaryLoss(CrossEntropyLoss2d())
    with torch.autocast("cpu", torch.bfloat16):
        loss = criterion(output, target)["loss"]
    full = SegmentationOutput(*(output.logits.float(), (output.aux[0].float(),), (output.extra[0].float(),)))
    assert loss.dtype == torch.float32
    assert torch.equal(loss, criterion(full, target)["loss"])
