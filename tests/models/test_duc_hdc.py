"""Hybrid dilation and learnt up-sampling."""

from __future__ import annotations

import pytest
import torch

from tests.models.catalogue import smallest


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return smallest("DeepLab_DUC_HDC", full_depth=True).eval()


@pytest.mark.slow
def test_a_fresh_network_draws_no_checkerboard(model):
    with torch.inference_mode():
        logits = model(torch.randn(1, 3, 32, 32)).logits
    cells = logits.unfold(2, 4, 4).unfold(3, 4, 4).flatten(4)  # 1, C, 8, 8, 16
    assert torch.allclose(cells, cells[..., :1].expand_as(cells), atol=1e-6)
    assert logits.std() > 0


def test_the_last_stages_take_the_papers_rates(model):
    for layer, rates in ((model.backbone.layer3, [1, 2, 3, 1, 2, 3]), (model.backbone.layer4, [3, 4, 5])):
        assert [block.conv2.dilation[0] for block in layer] == rates
        assert all(block.conv2.stride == (1, 1) for block in layer)
