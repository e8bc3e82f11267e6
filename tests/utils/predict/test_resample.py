"""Resampling against torch's bilinear interpolation in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from utils.predict.resample import AxisMap, ColumnInterpolator, RowInterpolator, scaled_rows, source_rows
from utils.predict.windows import plan_axis

CPU = torch.device("cpu")


@pytest.mark.parametrize("channels", [1, 3, 4, 6])
@pytest.mark.parametrize("size", [(5, 7), (33, 20), (20, 47), (40, 94), (1, 1), (41, 23)])
def test_strips_are_those_of_the_whole_scaled_image(size, channels):
    height, width = size
    source = torch.rand(20, 47, channels, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(
        source.double().permute(2, 0, 1)[None], size=size, mode="bilinear", align_corners=False
    )[0].permute(1, 2, 0)
    step = max(1, height // 3)
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        pixels = source[source_rows(rows, height, 20)]
        strip = scaled_rows(pixels, rows, height, 20, width)
        assert strip.shape == (rows.stop - rows.start, width, channels)
        torch.testing.assert_close(strip.double(), expected[rows], atol=2e-5, rtol=0)


def axis_map(length: int, source: int, reverse: bool = False) -> AxisMap:
    (span,) = plan_axis(length, 1.0, None, 1)
    return AxisMap.of_window(span, length, source, reverse)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [1, 6, 7, 40])
def test_both_interpolators_are_torchs_bilinear_interpolation(length, reverse):
    logits = torch.rand(6, 6, 3, generator=torch.Generator().manual_seed(0))
    seen = logits.flip(0, 1) if reverse else logits
    expected = F.interpolate(
        logits.double().permute(2, 0, 1)[None], size=(length, length), mode="bilinear", align_corners=False
    )[0].permute(1, 2, 0)
    mapped = axis_map(length, 6, reverse)
    rows, columns = RowInterpolator.of(mapped, 0.5, CPU), ColumnInterpolator.of(mapped, CPU)
    found = rows(columns(seen[rows.grid, columns.grid].contiguous()))
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=0)
    assert (rows.weight == 0.5).all() and (columns.weight == 1).all()


def test_logits_at_the_resolution_of_the_result_are_not_copied():
    mapped, strip = axis_map(6, 6), torch.rand(6, 6, 3)
    assert mapped.is_identity and not axis_map(6, 6, reverse=True).is_identity
    assert RowInterpolator.of(mapped, 1, CPU)(strip) is strip
    assert ColumnInterpolator.of(mapped, CPU)(strip) is strip


def test_a_part_of_a_map_reads_only_its_own_logits():
    part = axis_map(40, 10).part(20, 24)
    assert (part.first, part.stop, part.grid) == (20, 24, slice(4, 7))
