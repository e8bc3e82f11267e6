"""SAME convolutions of timm with fixed padding."""

from __future__ import annotations

import warnings

import pytest
import timm
import torch
from timm.layers import Conv2dSame
from torch import nn

from models import DeepLab
from models.backbone import build_backbone
from models.same_padding import FixedSameConv2d, fix_same_padding
from utils.export.write import write_model

NAME = "timm/tf_efficientnet_lite0"


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (2, 2), (4, 1), ((2, 1), 1)])
def test_multiples_of_the_stride_give_what_timm_computes(kernel, stride, dilation):
    torch.manual_seed(0)
    oracle = nn.Sequential(Conv2dSame(4, 6, kernel, stride, dilation=dilation, groups=2))
    fixed = nn.Sequential(oracle[0])
    fix_same_padding(fixed)
    assert isinstance(fixed[0], FixedSameConv2d) and fixed[0].weight is oracle[0].weight
    for height, width in ((4, 8), (20, 12), (64, 32)):
        images = torch.randn(1, 4, height, width)
        oracle = Conv2dSame(4, 6, kernel, stride, dilation=dilation, groups=2)
        oracle.load_state_dict(fixed[0].state_dict())
        assert torch.equal(fixed(images), oracle(images))


@pytest.mark.slow
def test_features_of_a_tensorflow_network_equal_those_of_timm():
    backbone = build_backbone(NAME, 3, False).eval()
    oracle = timm.create_model("tf_efficientnet_lite0", features_only=True).eval()
    oracle.load_state_dict(backbone.net.state_dict())
    assert any(isinstance(m, Conv2dSame) for m in oracle.modules())
    assert not any(isinstance(m, Conv2dSame) for m in backbone.modules())
    images = torch.randn(2, 3, 32, 160)
    with torch.inference_mode():
        assert all(torch.equal(a, b) for a, b in zip(backbone(images), oracle(images), strict=True))


@pytest.mark.slow
def test_one_exported_program_takes_every_size(tmp_path):
    torch.manual_seed(0)
    model = DeepLab(3, backbone=NAME).eval()
    write_model(model, 3, tmp_path / "model.torchscript", "torchscript", {})  # the fastest to record
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, that TorchScript is deprecated
        program = torch.jit.load(tmp_path / "model.torchscript")
    for size in ((33, 47), (64, 64), (130, 20)):
        images = torch.randn(1, 3, *size)
        with torch.inference_mode():
            expected = model(images).logits
            assert torch.allclose(program(images), expected, atol=1e-5 * max(1, expected.abs().max()))
