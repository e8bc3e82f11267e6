"""Aligned Xception."""

from __future__ import annotations

import pytest
import torch

from models import DeepLab
from models.xception import XceptionEncoder, _Separable


@pytest.mark.slow
def test_dilation_computes_the_strided_features_on_a_finer_grid():
    """The algorithme a trous: every second pixel of stride 8 is a pixel of stride 16."""
    torch.manual_seed(0)
    coarse, fine = XceptionEncoder(output_stride=16).eval(), XceptionEncoder(output_stride=8).eval()
    fine.load_state_dict(coarse.state_dict())
    images = torch.randn(1, 3, 32, 64)
    with torch.inference_mode():
        expected, found = coarse(images), fine(images)
    assert [f.shape[1:] for f in expected] == [(64, 16, 32), (128, 8, 16), (2048, 2, 4)]
    assert coarse.channels == (64, 128, 2048) and found[-1].shape[-2:] == (4, 8)
    difference = (found[-1][..., ::2, ::2] - expected[-1]).abs().max()
    assert difference < 1e-5 * expected[-1].abs().max()


def test_every_depthwise_convolution_is_followed_by_a_relu_except_in_the_linear_form():
    """Nothing that a pointwise convolution of the new form sees is negative."""
    torch.manual_seed(0)
    encoder = XceptionEncoder().eval()
    separable = [m for m in encoder.modules() if isinstance(m, _Separable)]
    assert len(separable) == 3 * (1 + 2 + 16) + 2 + 1 + 3
    for relu in (True, False):
        layer = _Separable(8, 4)
        layer.relu = relu
        seen = []
        layer[2].register_forward_hook(lambda module, inputs, output, seen=seen: seen.append(inputs[0].min()))
        layer(torch.randn(1, 8, 6, 6))
        assert (seen[0] >= 0) == relu
    assert all(m.relu for m in separable)
    linear = XceptionEncoder(depthwise_relu=False)
    assert not any(m.relu for m in linear.modules() if isinstance(m, _Separable))
    assert linear.state_dict().keys() == encoder.state_dict().keys()


def test_weights_that_nobody_publishes_are_refused():
    with pytest.raises(ValueError, match="torchvision has no Xception"):
        XceptionEncoder(pretrained=True)
    with pytest.raises(ValueError, match="torchvision has no Xception"):
        DeepLab(2, backbone="xception")
