"""Stochastic depth: rates, expectation, and the networks that have none."""

from __future__ import annotations

import copy

import pytest
import torch
from torchvision.models.resnet import BasicBlock

from models import PSPDenseNet
from models.backbone import build_backbone
from models.resnet import ResNetEncoder
from models.stochastic_depth import drop_residuals


def test_a_branch_is_kept_for_some_images_and_its_mean_stays():
    torch.manual_seed(0)
    first, last = BasicBlock(4, 4), BasicBlock(4, 4)
    names = list(last.state_dict())
    plain = copy.deepcopy(last).eval()
    drop_residuals([first, last], 0.25)
    assert list(last.state_dict()) == names and not hasattr(first, "drop_path")
    copied = copy.deepcopy(last)  # as an average of weights is made
    image = torch.randn(1, 4, 6, 6).abs()
    last.bn1.eval(), last.bn2.eval()  # frozen batch norm; the block trains
    assert torch.equal(copied.eval()(image), plain(image))
    last.relu = torch.nn.Identity()  # whose output would hide negative sums
    added = last(image.expand(4000, -1, -1, -1)) - image
    kept = (added.flatten(1) != 0).any(1)
    branch = plain.bn2(plain.conv2(plain.bn1(plain.conv1(image))))
    torch.testing.assert_close(added[kept][:1], branch / 0.75)
    assert not added[~kept].any()
    assert abs(kept.float().mean() - 0.75) < 0.03  # four standard deviations


def test_the_rates_of_a_resnet_rise_from_block_to_block():
    encoder = ResNetEncoder("resnet18", drop_path=0.7)
    rates = [module.p for module in encoder.modules() if hasattr(module, "mode")]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    assert list(encoder.state_dict()) == list(ResNetEncoder("resnet18").state_dict())


def test_timm_gets_the_rate_or_the_network_is_refused():
    net = build_backbone("timm/test_convnext", 3, False, drop_path=0.5).net
    assert max(getattr(module, "drop_prob", 0) for module in net.modules()) == 0.5
    for name in ("timm/vgg11", "densenet121"):
        with pytest.raises(ValueError, match=r"^drop_path: "):
            build_backbone(name, 3, False, 8 if name == "densenet121" else 32, drop_path=0.5)
    with pytest.raises(TypeError):
        PSPDenseNet(5, pretrained=False, drop_path=0.5)
