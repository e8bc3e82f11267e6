"""Rows of a scaled image: against torch's bilinear interpolation in float64."""

import pytest
import torch
import torch.nn.functional as F

from utils.predict.resample import scaled_rows, source_rows


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
