"""DABNet's parts."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from models.dabnet import DABNet, _Bottleneck, _Down


def test_old_channels_are_pooled_beside_the_new():
    features = torch.randn(1, 35, 8, 6)
    down = _Down(35, 64)
    down.norm = torch.nn.Identity()
    assert torch.equal(down(features)[:, 29:], F.max_pool2d(features, 2))
    assert _Down(131, 128)(torch.randn(1, 131, 8, 6)).shape == (1, 128, 4, 3)  # nothing to add


def test_a_bottleneck_sees_as_far_as_its_dilation():
    block = _Bottleneck(64, dilation=5).eval()
    image = torch.zeros(1, 64, 31, 31, requires_grad=True)
    block(image)[0, :, 15, 15].sum().backward()
    rows = image.grad.abs().sum(dim=(0, 1, 3)).nonzero().flatten()
    assert (rows.min(), rows.max()) == (15 - 5 - 1, 15 + 5 + 1)  # and one from the 3x3 convolution before


def test_the_image_joins_every_stage_at_its_resolution():
    seen = []
    model = DABNet(3, in_channels=2).eval()
    for norm in (model.norm1, model.norm2, model.norm3):
        norm.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0][:, -2:]))
    image = torch.rand(1, 2, 16, 24)
    model(image)
    for part, stride in zip(seen, (2, 4, 8), strict=True):
        assert part.shape == (1, 2, 16 // stride, 24 // stride)
    assert torch.allclose(seen[0][0, 0, 3, 3], image[0, 0, 5:8, 5:8].mean())
