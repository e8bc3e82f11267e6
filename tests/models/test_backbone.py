"""Backbones by name: channels, strides, and what is refused."""

from __future__ import annotations

import sys

import pytest
import timm
import torch

from models import DeepLab, PSPNet, UNetBackbone
from models.backbone import build_backbone
from tests.models.foreign import assert_contract

CASES = [
    ("resnet18", 32, (64, 64, 128, 256, 512), (2, 4, 8, 16, 32), 32),
    ("resnet18", 8, (64, 64, 128, 256, 512), (2, 4, 8, 8, 8), 8),
    ("densenet121", 8, (512, 1024), (8, 8), 8),
    ("timm/test_convnext", 32, (24, 32, 48, 64), (4, 8, 16, 32), 32),
    ("timm/test_convnext", 8, (24, 32, 48, 64), (4, 8, 8, 8), 8),
    ("timm/test_mambaout", 32, (16, 32, 48, 64), (4, 8, 16, 32), 32),  # its layout is NHWC
    ("timm/test_efficientnet", 16, (16, 24, 32, 48, 64), (2, 4, 8, 16, 16), 16),
    pytest.param(  # it unfolds features in patches of 2x2
        "timm/mobilevitv2_050", 32, (32, 64, 128, 192, 256), (2, 4, 8, 16, 32), 64, marks=pytest.mark.slow
    ),
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
        ("timm/vit_tiny_patch16_224", {}, "of every size .*; a plain ViT goes into ViTSeg or EoMT"),
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


CONTRACTS = [
    (PSPNet, "test_convnext"),
    (DeepLab, "test_efficientnet"),
    (DeepLab, "test_resnet"),
    (UNetBackbone, "test_mambaout"),
    (UNetBackbone, "test_maxvit"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "name"), CONTRACTS)
@pytest.mark.filterwarnings("ignore:`torch.jit.trace", "ignore::torch.jit.TracerWarning")  # in timm's code
def test_models_on_backbones_of_timm_keep_the_contract(model, name):
    torch.manual_seed(0)
    assert_contract(lambda **freezing: model(4, 5, f"timm/{name}", **freezing))


@pytest.mark.slow
def test_swin_takes_images_of_every_size():
    """Its windows are padded and their masks made for the size at hand; oracle: timm's network of one size."""
    backbone = build_backbone("timm/swin_tiny_patch4_window7_224", 3, False).eval()
    assert backbone.stride == 32 and backbone.levels(4, 8, 16, 32) == (0, 1, 2, 3)
    # timm moves the windows of the last stage only where it is larger than one window at construction
    for size, count in (((224, 224), 4), ((224, 448), 3)):
        oracle = timm.create_model(
            "swin_tiny_patch4_window7_224", features_only=True, img_size=size, weight_init="skip"
        ).eval()
        oracle.load_state_dict(backbone.net.state_dict(), strict=False)
        images = torch.randn(1, 3, *size)
        with torch.inference_mode():
            for found, expected in list(zip(backbone(images), oracle(images), strict=True))[:count]:
                assert torch.allclose(found, expected.permute(0, 3, 1, 2), atol=1e-4)
    with torch.inference_mode():
        model = UNetBackbone(2, 3, "timm/swin_tiny_patch4_window7_224").eval()
        assert model(images[..., :33, :1]).logits.shape == (1, 2, 33, 1)


def test_a_missing_or_old_timm_is_one_line(monkeypatch):
    monkeypatch.setattr(timm, "__version__", "0.9.16")
    with pytest.raises(ValueError, match=r"needs timm 1\.0\.20 or later, found 0\.9\.16: pip install -r req"):
        build_backbone("timm/test_convnext", 3, False)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"needs timm: pip install -r requirements/timm\.txt"):
        build_backbone("timm/test_convnext", 3, False)


STAGES = {
    "resnet18": {"stem": 0, "layer1": 1, "layer2": 2, "layer3": 3, "layer4": 4},
    "timm/test_convnext": {"net.stem_0": 0, "net.stages_0": 0, "net.stages_1": 1, "net.stages_3": 3},
    "timm/test_efficientnet": {"net.conv_stem": 0, "net.blocks.0": 0},
}


@pytest.mark.parametrize("name", STAGES)
def test_the_stages_of_layer_decay_follow_the_features(name):
    backbone = build_backbone(name, 2, False).train()
    backbone.get_submodule(next(iter(STAGES[name]))).eval()  # as a frozen part is
    modes = [module.training for module in backbone.modules()]
    found = {key: backbone.layer_of(key) for key, _ in backbone.named_parameters()}
    assert modes == [module.training for module in backbone.modules()]
    for part, stage in STAGES[name].items():
        assert {layer for key, layer in found.items() if key.startswith(f"{part}.")} == {stage}
    assert set(found.values()) == set(range(backbone.num_layers))
    assert backbone._stages.keys() == found.keys()
