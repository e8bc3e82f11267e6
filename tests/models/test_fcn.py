"""FCN's deconvolutions and score layers."""

from __future__ import annotations

import pytest
import torch

from models.fcn import _bilinear
from tests.models.catalogue import smallest


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_bilinear_deconvolution_is_interpolation_inside(factor):
    score = torch.randn(1, 3, 5, 6, dtype=torch.float64)
    found = _bilinear(3, factor).double()(score)
    expected = torch.nn.functional.interpolate(
        score, scale_factor=factor, mode="bilinear", align_corners=False
    )
    assert found.shape == expected.shape
    inside = slice(factor, -factor)
    assert torch.allclose(found[..., inside, inside], expected[..., inside, inside], atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "skips"), [("FCN32s", 0), ("FCN16s", 1), ("FCN8s", 2)])
def test_scores_start_at_zero_and_every_skip_adds_its_own(name, skips):
    torch.manual_seed(0)
    model = smallest(name).eval()
    images = torch.randn(1, 3, 64, 64)
    layers = [model.score_fr, *(getattr(model, f"score_pool{4 - i}") for i in range(skips))]
    assert len(layers) == 1 + skips
    with torch.inference_mode():
        assert not model(images).logits.any()
        for layer in layers:
            layer.bias.fill_(1)
        inside = model(images).logits[..., 32, 32]  # interpolated ones are ones away from the border
    assert torch.allclose(inside, torch.full_like(inside, 1 + skips))
