"""ERFNet's parts."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from models.erfnet import ERFNet, _Down, _Residual


def test_old_channels_are_pooled_behind_the_new():
    down = _Down(16, 64)
    down.norm = torch.nn.Identity()
    features = torch.rand(1, 16, 8, 6)
    assert torch.equal(down(features)[:, 48:], F.max_pool2d(features, 2))


def test_a_block_sees_one_pixel_and_then_as_far_as_its_dilation():
    block = _Residual(8, rate=4).eval()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.abs_()  # no ReLU cuts a path off
    image = torch.ones(1, 8, 21, 21, requires_grad=True)
    block(image)[0, :, 10, 10].sum().backward()
    seen = image.grad.abs().sum(dim=(0, 1))
    for axis in (0, 1):
        places = seen.sum(dim=axis).nonzero().flatten()
        assert (places.min(), places.max()) == (10 - 4 - 1, 10 + 4 + 1)


def test_factorised_kernels_equal_one_kernel_of_their_product():
    block = _Residual(1).eval()
    first = [layer for layer in block.body if isinstance(layer, torch.nn.Conv2d)][:2]
    with torch.no_grad():
        for layer in first:
            layer.bias.zero_()
        rows, columns = (layer.weight.uniform_(0, 1) for layer in first)
        image = torch.rand(1, 1, 9, 9)
        kernel = rows[0, 0] @ columns[0, 0]
        inner = F.conv2d(image, kernel[None, None], padding=1)
        assert torch.allclose(block.body[:3](image), inner, atol=1e-6)


def test_dropout_follows_the_depth():
    rates = [layer.p for layer in ERFNet(3, dropout=0.2).modules() if isinstance(layer, torch.nn.Dropout2d)]
    assert rates == [0.02] * 5 + [0.2] * 8 + [0.0] * 4
