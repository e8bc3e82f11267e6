"""Comparison of two networks on random images."""

from __future__ import annotations

import math

import torch

from base import SegmentationOutput
from utils.export.compare import HEADER, Parity, check_sizes, compare

SHAPE = (2, 3, 4)


class Scaled(torch.nn.Module):
    """Logits of 5 plus the image times a number, in two classes."""

    def __init__(self, value: float, classes: int = 2) -> None:
        super().__init__()
        self.value, self.classes = value, classes

    def forward(self, images: torch.Tensor) -> SegmentationOutput:
        logits = torch.full((len(images), self.classes, *images.shape[-2:]), 5.0)
        return SegmentationOutput(logits + self.value * images)


def test_rounding_is_equal_and_more_is_not():
    one, near, far = Scaled(1), Scaled(1 + 1e-6), Scaled(1.01)
    same = compare(one, one, 1, SHAPE)
    assert same == Parity(SHAPE, 0.0, same.scale, 0) and same.scale > 5
    assert 0 < compare(one, near, 1, SHAPE).difference < 1e-4
    assert compare(one, near, 1, SHAPE).holds and not compare(one, far, 1, SHAPE).holds


def test_another_shape_no_number_or_an_error_is_a_difference_everywhere():
    class Broken(torch.nn.Module):
        def forward(self, images):
            raise RuntimeError("recorded for other sizes")

    for exported in (Scaled(1, classes=3), Scaled(math.nan), Broken()):
        parity = compare(Scaled(1), exported, 1, SHAPE)
        assert math.isinf(parity.difference) and parity.changed == 2 * 3 * 4 and not parity.holds


def test_logits_on_the_networks_own_grid_count_too():
    exact, exported = Scaled(1), Scaled(1)
    exact.forward_coarse = exact.forward
    exported.forward_coarse = Scaled(2).forward
    assert compare(exact, exact, 1, SHAPE).holds and not compare(exact, exported, 1, SHAPE).holds


def test_the_usual_sizes_are_single_pixels_odd_sides_and_multiples_of_the_stride():
    sizes = check_sizes(16, [(64, 17)])
    assert (1, 1, 1) in sizes and sizes[-1] == (1, 64, 17)
    assert any(height % 16 == width % 16 == 0 for _, height, width in sizes)
    assert any(height % 2 and width % 2 and height > 16 for _, height, width in sizes)
    assert {batch for batch, _, _ in sizes} >= {1, 2, 3}
    assert len(check_sizes(1)) == len(sizes) - 1


def test_a_row_of_the_table_names_the_verdict():
    assert Parity((1, 20, 30), 1e-6, 3.0, 0).row().split() == [
        "1",
        "x",
        "20",
        "x",
        "30",
        "1.00e-06",
        "3",
        "0",
        "equal",
    ]
    assert Parity((1, 20, 30), 1.0, 3.0, 7).row().endswith(" 7  DIFFERENT")
    assert HEADER.split("max")[0].strip() == "batch x height x width"
