"""The mask-classification loss against brute force, and against transformers' functions."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from base import SegmentationOutput
from utils.losses.mask_classification import MaskClassificationLoss, MaskWeights, Segments

CLASSES, QUERIES = 4, 5


def predictions(images: int, size=(6, 7), layers: int = 2, dtype=torch.float64) -> SegmentationOutput:
    draw = torch.Generator().manual_seed(0)
    extra = []
    for _ in range(layers):
        extra.append(torch.randn(images, QUERIES, CLASSES + 1, generator=draw, dtype=dtype))
        extra.append(3 * torch.randn(images, QUERIES, *size, generator=draw, dtype=dtype))
    for tensor in extra:
        tensor.requires_grad_()
    return SegmentationOutput(torch.zeros(images, CLASSES, *size, dtype=dtype), extra=tuple(extra))


def targets(images: int, size=(6, 7)) -> Tensor:
    target = torch.randint(0, CLASSES, (images, *size), generator=torch.Generator().manual_seed(1))
    target[0, :3] = 255
    target[0][target[0] == 1] = 2  # image 0 lacks class 1
    return target


def dice(logits: Tensor, mask: Tensor) -> Tensor:
    p = logits.sigmoid()
    return 1 - (2 * (p * mask).sum() + 1) / (p.sum() + mask.sum() + 1)


def entropy(logits: Tensor, mask: Tensor) -> Tensor:
    p = logits.sigmoid()
    return -(mask * p.log() + (1 - mask) * (1 - p).log()).mean()


def by_hand(output: SegmentationOutput, target: Tensor, weights: MaskWeights) -> Tensor:
    """The loss of a batch, with the best of all assignments of queries to segments, pixel by pixel."""
    total = target.new_zeros((), dtype=torch.float64)
    label_sum, label_weights, mask_sum, dice_sum, segments = total, 0.0, total, total, 0
    for layer in range(0, len(output.extra), 2):
        label_weights, segments = 0.0, 0
        for n, image in enumerate(target):
            valid = image != 255
            present = sorted(set(image[valid].tolist()))
            scores, maps = output.extra[layer][n], output.extra[layer + 1][n][:, valid]
            masks = {c: (image[valid] == c).double() for c in present}

            def cost(query, c, scores=scores, maps=maps, masks=masks):
                return (
                    -weights.label * scores[query].softmax(0)[c]
                    + weights.mask * entropy(maps[query], masks[c])
                    + weights.dice * dice(maps[query], masks[c])
                )

            with torch.no_grad():
                table = [[float(cost(q, c)) for c in present] for q in range(QUERIES)]
            best = min(
                permutations(range(QUERIES), len(present)),
                key=lambda queries, table=table: sum(table[q][k] for k, q in enumerate(queries)),
            )
            found = dict(zip(best, present, strict=True))
            for query in range(QUERIES):
                label = found.get(query, CLASSES)
                weight = 1.0 if query in found else weights.no_object
                label_sum = label_sum + weight * cross_entropy(scores[query][None], torch.tensor([label]))
                label_weights += weight
            for query, c in found.items():
                mask_sum = mask_sum + entropy(maps[query], masks[c])
                dice_sum = dice_sum + dice(maps[query], masks[c])
            segments += len(found)
    parts = weights.label * label_sum / label_weights
    return parts + (weights.mask * mask_sum + weights.dice * dice_sum) / segments


@pytest.mark.parametrize("weights", [MaskWeights(), MaskWeights(1.0, 20.0, 0.5, 0.3)])
def test_the_loss_is_that_of_the_best_of_all_assignments(weights):
    output, target = predictions(2), targets(2)
    loss = MaskClassificationLoss(CLASSES, QUERIES, weights=weights, points=0)(output, target)
    assert loss["loss"].item() == pytest.approx(by_hand(output, target, weights).item(), rel=1e-6)
    assert loss["loss"].item() == pytest.approx(
        sum(loss[f"loss_{part}"].item() for part in ("class", "mask", "dice"))
    )


def test_costs_and_losses_are_those_of_transformers():
    modeling = pytest.importorskip("transformers.models.eomt.modeling_eomt")
    draw = torch.Generator().manual_seed(0)
    values, masks = 2 * torch.randn(5, 40, generator=draw), torch.rand(3, 40, generator=draw).round()
    scores = torch.randn(5, CLASSES + 1, generator=draw)
    segments = Segments(torch.tensor([0, 2, 3]), masks, torch.arange(40))
    criterion = MaskClassificationLoss(CLASSES, QUERIES)
    queries, found = criterion.match(scores, values, segments)
    cost = (
        5 * modeling.pair_wise_sigmoid_cross_entropy_loss(values, masks)
        + 5 * modeling.pair_wise_dice_loss(values, masks)
        - 2 * scores.softmax(-1)[:, segments.labels]
    )
    expected = modeling.linear_sum_assignment(cost.numpy())
    assert (queries.tolist(), found.tolist()) == tuple(part.tolist() for part in expected)
    _, mask, overlap = criterion._parts(scores, values, segments)
    matched = values[queries], masks[found]
    assert mask / 3 == pytest.approx(float(modeling.sigmoid_cross_entropy_loss(*matched, 3)), rel=1e-5)
    assert overlap / 3 == pytest.approx(float(modeling.dice_loss(*matched, 3)), rel=1e-5)


def test_parts_of_a_step_add_up_to_one_big_batch():
    criterion = MaskClassificationLoss(CLASSES, QUERIES, points=0)
    output, target = predictions(4), targets(4)
    big = criterion(output, target)["loss"]
    (expected,) = torch.autograd.grad(big, output.extra[1])
    parts = [slice(0, 1), slice(1, 4)]
    normalizer = torch.stack([criterion.normalizer(target[part]) for part in parts]).sum(dim=0)
    for part in parts:
        split = SegmentationOutput(output.logits[part], extra=tuple(e[part] for e in output.extra))
        criterion(split, target[part], normalizer)["loss"].backward()
    assert torch.allclose(output.extra[1].grad, expected, rtol=1e-6, atol=1e-12)
    assert expected.abs().sum() > 0


def test_void_pixels_and_images_have_no_gradient():
    output, target = predictions(2), targets(2)
    target[1] = 255
    criterion = MaskClassificationLoss(CLASSES, QUERIES, points=0)
    criterion(output, target)["loss"].backward()
    for scores, maps in (output.extra[:2], output.extra[2:]):
        assert not maps.grad[0, :, :3].any() and maps.grad[0, :, 3:].any()
        assert not maps.grad[1].any() and not scores.grad[1].any() and scores.grad[0].any()
    assert criterion.normalizer(target).tolist() == pytest.approx([3 + 0.1 * 2, 3])
    target[:] = 255
    nothing = criterion(output, target)["loss"]
    assert nothing == 0 and torch.autograd.grad(nothing, output.extra[0])[0].abs().sum() == 0


@pytest.mark.parametrize("size", [(6, 7), (5, 8)])
def test_masks_are_sampled_from_the_padded_image(size):
    """The masks have a quarter of the padded image's sides, here 8x8."""
    criterion = MaskClassificationLoss(CLASSES, QUERIES, stride=8)
    maps = torch.randn(QUERIES, 2, 2)
    full = torch.nn.functional.interpolate(maps[None], (8, 8), mode="bilinear")[0, :, : size[0], : size[1]]
    sampled = criterion.sample(maps, torch.arange(size[0] * size[1]), size)
    assert torch.allclose(sampled, full.flatten(1), atol=1e-6)


def test_points_are_valid_pixels_drawn_by_the_random_state():
    criterion = MaskClassificationLoss(CLASSES, QUERIES, points=10)
    (target,) = targets(1)
    torch.manual_seed(0)
    first, second = criterion.segments(target), criterion.segments(target)
    torch.manual_seed(0)
    again = criterion.segments(target)
    assert torch.equal(first.pixels, again.pixels) and not torch.equal(first.pixels, second.pixels)
    assert first.masks.shape == (3, 10) and first.pixels.min() >= 21  # three rows of 7 are void
    assert torch.equal(first.labels, torch.tensor([0, 2, 3]))
    assert torch.equal(first.masks.sum(dim=0), torch.ones(10))


def test_more_segments_than_queries():
    criterion = MaskClassificationLoss(CLASSES, 2, points=0)
    output, target = predictions(1), targets(1)
    few = SegmentationOutput(output.logits, extra=tuple(e[:, :2] for e in output.extra))
    assert criterion.normalizer(target).tolist() == [2, 2]
    assert criterion(few, target)["loss"].isfinite()


def test_predictions_that_are_not_finite_show_in_the_loss():
    output, target = predictions(1), targets(1)
    with torch.no_grad():
        output.extra[1][0, 0] = torch.nan
    assert not MaskClassificationLoss(CLASSES, QUERIES)(output, target)["loss"].isfinite()
