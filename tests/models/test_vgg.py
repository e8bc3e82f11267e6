"""Convolutions of VGG as matrix products, against float64, and its classifier as convolutions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torchvision.models.vgg import cfgs, make_layers

from models.vgg import FullyConvolutionalVGG, WideConv2d


def made(kernel_size):
    torch.manual_seed(0)
    layer = WideConv2d(16, 24, kernel_size).to(memory_format=torch.channels_last)
    images = torch.randn(2, 16, 5, 6).contiguous(memory_format=torch.channels_last)
    return layer, images


@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_outputs_and_gradients_are_a_convolutions(kernel_size):
    layer, images = made(kernel_size)
    images.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        result = layer(images)
    assert result.dtype == torch.bfloat16 and result.is_contiguous(memory_format=torch.channels_last)
    weight = torch.randn(result.shape)
    (result.float() * weight).sum().backward()

    exact = [tensor.detach().double().requires_grad_() for tensor in (images, layer.weight, layer.bias)]
    expected = F.conv2d(*exact, padding=kernel_size // 2)
    (expected * weight.double()).sum().backward()
    pairs = [(result, expected)]
    pairs += zip(
        (images.grad, layer.weight.grad, layer.bias.grad), (each.grad for each in exact), strict=True
    )
    for found, right in pairs:
        assert (found.double() - right).abs().max() < 0.02 * right.abs().max()


@pytest.mark.parametrize(("precision", "side", "multiplies"), [
    (torch.bfloat16, 5, True), (None, 5, False), (torch.bfloat16, 40, False),
])  # fmt: skip
def test_a_product_only_in_reduced_precision_and_for_few_pixels(precision, side, multiplies):
    layer, _ = made(3)
    images = torch.randn(1, 16, side, side).contiguous(memory_format=torch.channels_last)
    with (
        torch.autocast("cpu", precision, enabled=precision is not None),
        profile(activities=[ProfilerActivity.CPU]) as seen,
    ):
        result = layer(images)
    assert any(event.key == "aten::linear" for event in seen.key_averages()) is multiplies
    if precision is None:
        assert torch.equal(result, F.conv2d(images, layer.weight, layer.bias, padding=1))


def narrow_vgg11(weights: None = None, init_weights: bool = False) -> torchvision.models.VGG:
    """Build torchvision's network with 64 instead of 4096 channels in the hidden layers of the classifier."""
    net = torchvision.models.VGG(make_layers(cfgs["A"]), init_weights=False)
    net.classifier[0], net.classifier[3] = nn.Linear(512 * 7 * 7, 64), nn.Linear(64, 64)
    net.classifier[6] = nn.Linear(64, 1000)
    return net


@pytest.mark.slow
def test_fc6_and_fc7_are_taken_from_vgg(tmp_path, monkeypatch):
    monkeypatch.setattr("models.vgg.HIDDEN", 64)
    monkeypatch.setattr("models.vgg.tv.vgg11", narrow_vgg11)
    torch.manual_seed(0)
    net = narrow_vgg11().eval()
    torch.save(net.state_dict(), tmp_path / "vgg11.pth")
    backbone = FullyConvolutionalVGG("vgg11", pretrained=str(tmp_path / "vgg11.pth")).eval()
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        pool5 = net.features(images)
        expected = net.classifier[:5](pool5.flatten(1))
        # the middle of the 7x7 map sees exactly the window that the linear layer saw
        found = backbone(images)[2][0, :, 3, 3]
    assert torch.allclose(found, expected[0], atol=1e-4)
