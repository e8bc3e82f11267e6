"""Shared blocks against torch's and torchvision's versions of them."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.segmentation.deeplabv3 import ASPP

from models.blocks import (
    AtrousPyramid,
    AverageGrid,
    PyramidPooling,
    conv_bn_relu,
    damp_residuals,
    init_weights,
    resize_like,
)


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (12, 6), (60, 45)])
def test_average_grid_is_adaptive_pooling(bins, size):
    features = torch.randn(2, 3, *size, dtype=torch.float64)
    expected = torch.nn.functional.adaptive_avg_pool2d(features, bins)
    assert torch.allclose(AverageGrid(bins)(features), expected, atol=1e-14)


def test_an_atrous_pyramid_is_torchvisions():
    torch.manual_seed(0)
    theirs, ours = ASPP(6, [2, 3], 5).eval(), AtrousPyramid(6, (2, 3), 5).eval()
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    features = torch.randn(2, 6, 9, 11)
    with torch.inference_mode():
        assert torch.allclose(ours(features), theirs(features), atol=1e-6)


def test_pyramid_pooling_appends_means_to_the_features():
    pyramid = PyramidPooling(3, 2, bins=(1, 2)).eval()
    features = torch.randn(1, 3, 6, 8)
    with torch.inference_mode():
        result = pyramid(features)
        mean = pyramid.scales[0][1](features.mean(dim=(2, 3), keepdim=True))
    assert result.shape == (1, pyramid.channels, 6, 8) and pyramid.channels == 3 + 2 * 2
    assert torch.equal(result[:, :3], features)
    assert torch.allclose(result[:, 3:5], mean.expand(-1, -1, 6, 8), atol=1e-6)


@pytest.mark.parametrize(("kernel_size", "dilation"), [(1, 1), (3, 1), (3, 4), (5, 2)])
def test_a_convolution_keeps_the_size(kernel_size, dilation):
    block = conv_bn_relu(2, 4, kernel_size, dilation=dilation)
    result = block(torch.randn(2, 2, 9, 7))
    assert result.shape == (2, 4, 9, 7) and result.min() >= 0
    assert block[0].bias is None and conv_bn_relu(2, 4, bias=True)[0].bias is not None


def test_resizing_is_bilinear_between_pixel_centres_and_free_at_equal_size():
    features = torch.tensor([[[[0.0, 4.0]]]])
    assert resize_like(features, torch.empty(1, 9, 1, 4))[0, 0, 0].tolist() == [0, 1, 3, 4]
    assert resize_like(features, torch.empty(3, 5, 1, 2)) is features


def test_initial_weights_have_the_spread_of_he_and_leave_other_layers_alone():
    torch.manual_seed(0)
    linear, norm, convolution = nn.Linear(4, 4), nn.BatchNorm2d(64), nn.Conv2d(64, 64, 3)
    before = linear.weight.clone()
    with torch.no_grad():
        norm.weight.fill_(3)
        norm.bias.fill_(3)
    init_weights(nn.Sequential(linear, norm), convolution)
    assert torch.equal(linear.weight, before)
    assert torch.equal(norm.weight, torch.ones(64)) and not norm.bias.any() and not convolution.bias.any()
    assert convolution.weight.std().item() == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_damped_residuals_are_weak_beside_their_shortcuts(name):
    net = getattr(torchvision.models, name)(weights=None)
    damp_residuals(net)
    blocks = [block for layer in (net.layer1, net.layer2, net.layer3, net.layer4) for block in layer]
    last = [block.bn3 if name == "resnet50" else block.bn2 for block in blocks]
    others = [
        m for m in net.modules() if isinstance(m, nn.BatchNorm2d) and not any(m is norm for norm in last)
    ]
    assert all(torch.equal(norm.weight, torch.full_like(norm.weight, 0.2)) for norm in last)
    assert all(torch.equal(norm.weight, torch.ones_like(norm.weight)) for norm in others)
