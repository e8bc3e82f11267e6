"""Output strides of DeepLab."""

from __future__ import annotations

import pytest
import torch

from tests.models.catalogue import smallest


@pytest.mark.slow
@pytest.mark.parametrize(("output_stride", "rates"), [(16, [1, 6, 12, 18]), (8, [1, 12, 24, 36])])
def test_the_pyramid_dilates_by_the_papers_rates(output_stride, rates):
    model = smallest("DeepLab", output_stride=output_stride).eval()
    assert model.stride == output_stride
    assert [branch[0].dilation[0] for branch in model.pyramid.branches] == rates
    with torch.inference_mode():
        assert model.backbone(torch.randn(1, 3, 64, 64))[-1].shape[-1] == 64 // output_stride
        assert model.forward_coarse(torch.randn(1, 3, 64, 64)).logits.shape == (1, 5, 16, 16)
