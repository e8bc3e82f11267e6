"""Large separable kernels of GCN."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from models import GCN
from models.gcn import _LargeKernel
from tests.models.catalogue import smallest


def test_a_large_kernel_is_a_dense_convolution_of_rank_two():
    torch.manual_seed(0)
    block = _LargeKernel(3, 4, 5).double()
    with torch.no_grad():
        for branch in (block.left, block.right):
            branch[0].bias.zero_()  # a bias before the second padding would only show at the border
        tall, wide = (branch[0].weight for branch in (block.left, block.right))
        kernel = torch.einsum("mity,omxj->oitj", tall, block.left[1].weight)
        kernel = kernel + torch.einsum("miyj,omtx->oitj", wide, block.right[1].weight)
        features = torch.randn(2, 3, 9, 8, dtype=torch.float64)
        expected = F.conv2d(features, kernel, block.left[1].bias + block.right[1].bias, padding=2)
        assert torch.allclose(block(features), expected, atol=1e-12)


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="kernel_size: 4 is even"):
        GCN(2, backbone="resnet18", pretrained=False, kernel_size=4)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_scores_start_near_zero_on_every_backbone(backbone):
    """They began with a loss of 6 to 8 for 11 classes and diverged."""
    torch.manual_seed(0)
    model = smallest("GCN", 11, backbone=backbone).train()
    logits = model(torch.randn(2, 3, 64, 96)).logits
    loss = F.cross_entropy(logits, torch.randint(11, (2, 64, 96)))
    assert abs(loss.item() - math.log(11)) < 0.3
