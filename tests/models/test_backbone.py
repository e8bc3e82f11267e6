"""Backbones by name: channels, strides, and what is refused."""

from __future__ import annotations

import pytest
import torch

from models.backbone import build_backbone

CASES = [
    ("resnet18", 32, (64, 64, 128, 256, 512), (2, 4, 8, 16, 32), 32),
    ("resnet18", 8, (64, 64, 128, 256, 512), (2, 4, 8, 8, 8), 8),
    ("densenet121", 8, (512, 1024), (8, 8), 8),
    ("timm/test_convnext", 32, (24, 32, 48, 64), (4, 8, 16, 32), 32),
    ("timm/test_convnext", 8, (24, 32, 48, 64), (4, 8, 8, 8), 8),
    ("timm/test_mambaout", 32, (16, 32, 48, 64), (4, 8, 16, 32), 32),  # its layout is NHWC
    ("timm/test_efficientnet", 16, (16, 24, 32, 48, 64), (2, 4, 8, 16, 16), 16),
    ("timm/test_maxvit", 32, (32, 32, 64, 96, 128), (2, 4, 8, 16, 32), 160),  # windows of 5
]


@pytest.mark.parametrize(("name", "output_stride", "channels", "reductions", "stride"), CASES)
def test_features_have_the_declared_channels_and_strides(name, output_stride, channels, reductions, stride):
    backbone = build_backbone(name, 2, False, output_stride).eval()
    assert (backbone.channels, backbone.reductions, backbone.stride) == (channels, reductions, stride)
    with torch.inference_mode():
        features = backbone(torch.randn(1, 2, stride, 2 * stride))
    assert [f.shape[1] for f in features] == list(channels)
    assert [f.shape[2:] for f in features] == [(stride // r, 2 * stride // r) for r in reductions]
    assert backbone.normalisation is None


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet19", {}, "backbone: 'resnet19' is not offered; did you mean 'resnet18'"),
        ("timm/convnext_tny", {}, "has no network 'convnext_tny'; did you mean 'convnext_tiny"),
        ("timm/test_coatnet", {}, "timm/test_coatnet does not take images of every size"),
        ("timm/test_maxvit", {"output_stride": 8}, "timm/test_maxvit cannot be dilated to 8; a ResNet"),
        ("densenet121", {"output_stride": 16}, "densenet121 has features of stride 8 only; 16"),
        ("timm/test_resnet", {"deep_stem": True}, "deep_stem: is a stem of ResNets"),
    ],
)
def test_what_a_backbone_cannot_do_is_one_line(name, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        build_backbone(name, 3, False, **options)
    assert "\n" not in str(caught.value)


def test_a_missing_stride_names_backbones_that_have_it():
    backbone = build_backbone("timm/test_vit", 3, False)
    assert backbone.levels(16) == (2,)
    with pytest.raises(ValueError, match=r"features of stride 16, and none of stride 4, 32, .*convnext_tiny"):
        backbone.levels(4, 16, 32)


def test_a_stride_that_several_features_have_is_that_of_the_last():
    assert build_backbone("resnet18", 3, False, 8).levels(4, 8) == (1, 4)
