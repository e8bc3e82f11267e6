"""Windows: every pixel covered, weights that sum to 1, positions inside and symmetric."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from utils.predict.windows import plan_axis, source_positions, window_starts


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
