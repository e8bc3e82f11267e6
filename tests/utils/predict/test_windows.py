"""Windows: every pixel covered, weights that sum to 1, positions inside and symmetric."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from utils.predict.options import PredictOptions
from utils.predict.windows import plan_axis, plan_scale, source_positions, window_starts


@pytest.mark.parametrize("stride", [1, 2, 5, 7])
@pytest.mark.parametrize("window", [7, 8])
def test_starts_cover_the_axis_symmetrically(window, stride):
    for length in range(1, 60):
        starts = window_starts(length, window, stride)
        assert starts[0] == 0 and starts[-1] == max(length - window, 0)
        gaps = np.diff(starts)
        assert (gaps <= stride).all() and (gaps > 0).all()
        room = max(length - window, 0)
        mirrored = [room - start for start in reversed(starts)]
        assert max(abs(a - b) for a, b in zip(starts, mirrored, strict=True)) <= 1


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.0, 1.3, 2.0])
@pytest.mark.parametrize("length", [1, 2, 9, 16, 17, 40, 101])
def test_weights_sum_to_one_and_indices_stay_inside(length, scale):
    for window, stride in ((8, 8), (8, 3), (16, 11), (None, 1)):
        spans = plan_axis(length, scale, window, stride)
        total = np.zeros(length)
        for span in spans:
            part = slice(span.first, span.stop)
            assert (span.weight > 0).all()
            assert span.position.min() >= 0 and span.position.max() <= span.size - 1
            total[part] += span.weight
        np.testing.assert_allclose(total, 1, atol=1e-6)


def test_resampling_positions_are_those_of_torch():
    values = torch.rand(1, 1, 37, dtype=torch.float64)
    for length in (1, 12, 37, 90):
        lower, upper, fraction = source_positions(length, 37)
        mine = torch.lerp(values[..., lower], values[..., upper], torch.from_numpy(fraction))
        theirs = F.interpolate(values, size=length, mode="linear", align_corners=False)
        torch.testing.assert_close(mine, theirs, atol=1e-12, rtol=0)


def test_a_margin_that_leaves_gaps_is_refused():
    with pytest.raises(ValueError, match="gaps"):
        plan_axis(100, 1.0, 16, 12, margin=4)
    spans = plan_axis(100, 1.0, 16, 8, margin=4)
    assert spans[1].first == spans[1].start + 4 and spans[0].first == 0


@pytest.mark.parametrize("options", [{}, {"mode": "multiscale"}])
def test_without_need_one_window_covers_the_scaled_image(options):
    plan = plan_scale(40, 60, 1.5, PredictOptions(window=(8, 8), **options))
    assert (plan.height, plan.width) == (60, 90)
    assert [(span.start, span.size) for span in (*plan.rows, *plan.columns)] == [(0, 60), (0, 90)]


def test_sliding_windows_have_the_size_and_overlap_asked_for():
    plan = plan_scale(100, 50, 1.0, PredictOptions(mode="sliding", window=(20, 64), overlap=0.5))
    assert {span.size for span in plan.rows} == {20} and [span.size for span in plan.columns] == [50]
    assert max(np.diff([span.start for span in plan.rows])) <= 10


@pytest.mark.parametrize("size", [(900, 1000), (10, 4000), (4000, 10)])
def test_large_windows_keep_below_the_limit_of_pixels(size):
    options = PredictOptions(mode="multiscale", window=(16, 16), max_whole_pixels=10_000)
    plan = plan_scale(*size, 1.0, options)
    assert plan.rows[0].size * plan.columns[0].size <= 10_000
    assert len(plan.rows) * len(plan.columns) < 2 * size[0] * size[1] / 10_000 + 2
