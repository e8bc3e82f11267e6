"""DenseNet features against torchvision's own."""

from __future__ import annotations

import pytest
import torch
import torchvision

from models.densenet import DenseNetEncoder


@pytest.fixture(scope="module")
def encoder() -> DenseNetEncoder:
    torch.manual_seed(0)
    return DenseNetEncoder("densenet121").eval()


@pytest.mark.slow
def test_both_features_have_stride_eight_and_the_named_channels(encoder):
    with torch.inference_mode():
        middle, last = encoder(torch.randn(1, 3, 32, 64))
    assert middle.shape == (1, 512, 4, 8) and last.shape == (1, 1024, 4, 8)
    assert encoder.channels == (512, 1024) and last.min() >= 0


@pytest.mark.slow
def test_a_file_gives_torchvisions_features_up_to_the_first_dilated_block(tmp_path):
    torch.manual_seed(0)
    net = torchvision.models.densenet121(weights=None).eval()
    torch.save(net.state_dict(), tmp_path / "w.pth")
    encoder = DenseNetEncoder("densenet121", pretrained=str(tmp_path / "w.pth")).eval()
    images = torch.randn(1, 3, 32, 64)
    until = list(dict(net.features.named_children())).index("denseblock2") + 1
    with torch.inference_mode():
        assert torch.equal(encoder.first[:until](images), net.features[:until](images))
    ours = sorted(p.sum().item() for p in encoder.parameters())
    assert ours == sorted(p.sum().item() for p in net.features.parameters())


def test_only_the_last_two_blocks_are_dilated(encoder):
    rates = [
        [c.dilation[0] for c in part.modules() if isinstance(c, torch.nn.Conv2d) and c.kernel_size == (3, 3)]
        for part in (encoder.first, encoder.last)
    ]
    assert rates == [[1] * (6 + 12) + [2] * 24, [4] * 16]
