"""Parameter counts against published and independently computed ones."""

from __future__ import annotations

import inspect

import pytest
import torch

import models

NO = {"pretrained": False}
ZERO = {**NO, "border": "zero"}
FAMILY = {**NO, "layout": "family", "fpn_channels": 256}
DEEP = {**NO, "deep_stem": True}
SEPARABLE = (2048, 2048, 2048, 304, 256)  # input channels of DeepLab's 3x3 convolutions
KNOWN = [
    ("FCN8s", 21, ZERO, 134_489_759),
    ("FCN8s", 12, ZERO, 134_360_420),
    ("FCN8s", 1, ZERO, 134_265_699),
    ("FCN16s", 21, ZERO, 134_815_994),
    ("FCN32s", 21, ZERO, 136_152_917),
    ("FCN8s", 21, {**ZERO, "backbone": "vgg11"}, 128_995_551),
    ("FCN8s", 21, {**ZERO, "backbone": "vgg13"}, 129_180_063),
    ("FCN8s", 21, {**ZERO, "backbone": "vgg19"}, 139_799_455),
    ("FCN8s", 21, {**ZERO, "backbone": "vgg16_bn"}, 134_498_207),
    ("FCN8s", 21, NO, 134_489_759 - 2 * 21**2 * 4**2 - 21**2 * 16**2),
    ("FCN16s", 21, NO, 134_815_994 - 21**2 * (4**2 + 32**2)),
    ("FCN32s", 21, NO, 136_152_917 - 21**2 * 64**2),
    ("UNet", 2, {}, 31_037_698),
    ("UNet", 1, {}, 31_037_633),
    ("UNet", 21, {}, 31_038_933),
    ("UNet", 2, {"bilinear": True}, 17_263_042),
    ("UNet", 1, {"bilinear": True}, 17_262_977),
    ("UNet", 21, {"bilinear": True}, 17_264_277),
    ("UNetResnet", 21, {**DEEP, "decoder_norm": False}, 30_000_528),
    # norms for the biases of 8 convolutions, and after 5 deconvolutions
    ("UNetBackbone", 21, DEEP, 30_000_528 + 192 + 128 + 96 + 64 + 48 + 32 + 2 * (128 + 96 + 64 + 48 + 32)),
    ("PSPNet", 21, DEEP, 49_081_578),
    ("PSPNet", 19, DEEP, 49_080_038),
    ("PSPNet", 21, {**DEEP, "backbone": "resnet101"}, 68_073_706),
    ("DeepLab", 21, {**NO, "backbone": "xception"}, 54_705_317),
    ("DeepLab", 21, NO, 40_352_181),
    # each of five 3x3 convolutions: 9 weights per input channel, a norm, and a ninth of the dense weights
    ("DeepLab", 21, {**NO, "separable": True}, 40_352_181 - sum((8 * 256 - 11) * c for c in SEPARABLE)),
    ("DeepLab", 21, {**NO, "backbone": "resnet101"}, 59_344_309),
    ("ENet", 11, {"layout": "family"}, 350_508),
    ("ENet", 12, {"layout": "family"}, 350_652),
    ("ENet", 19, {"layout": "family"}, 351_660),
    ("ENet", 21, {"layout": "family"}, 351_948),
    ("SegNet", 11, NO, 29_449_355),
    ("SegResNet", 21, NO, 53_564_309),
    ("DABNet", 19, {}, 756_643),
    ("ERFNet", 19, {}, 2_064_191),
    ("DDRNet", 19, {"use_aux": False}, 5_695_987),
    ("DDRNet", 19, {"variant": "23", "use_aux": False}, 20_148_947),
    ("PIDNet", 19, {"use_aux": False}, 7_625_715),
    ("PIDNet", 19, {"variant": "M", "use_aux": False}, 34_439_827),
    ("PIDNet", 19, {"variant": "L", "use_aux": False}, 36_939_571),
    # different on purpose: the docstring says which layers, and the sum must come out
    ("GCN", 21, NO, 25_394_294 - 9 * 2 * 2 * 21),
    ("DeepLab_DUC_HDC", 21, NO, 69_185_509 - 2 * 336 + 336),
    ("UperNet", 21, FAMILY, 126_116_693 + 2 * (256 * 256 * 9 + 256)),
    ("UperNet", 21, {**FAMILY, "backbone": "resnet50"}, 107_124_565 + 2 * (256 * 256 * 9 + 256)),
    ("PSPDenseNet", 21, NO, 42_290_282 - 2_070_272 - 29_312 + 3_840),
]


def build(name, num_classes, arguments):
    with torch.device("meta"):
        return getattr(models, name)(num_classes, **arguments)


def count(parameters):
    return sum(p.numel() for p in parameters)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "num_classes", "arguments", "expected"), KNOWN)
def test_count(name, num_classes, arguments, expected):
    assert count(build(name, num_classes, arguments).parameters()) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["GCN", "DeepLab_DUC_HDC", "UperNet", "PSPDenseNet"])
def test_a_difference_is_explained_with_its_count(name):
    found = count(build(name, 21, FAMILY if name == "UperNet" else NO).parameters())
    assert f"{found:,}" in inspect.getdoc(getattr(models, name))


def test_fcn_trains_all_but_its_fixed_upsampling():
    model = build("FCN8s", 21, ZERO)
    trainable = count(p for p in model.parameters() if p.requires_grad)
    assert trainable == 134_362_751
    learning = build("FCN8s", 21, {**NO, "learn_upsampling": True})
    assert count(p for p in learning.parameters() if p.requires_grad) == 134_489_759


def test_unet_buffers():
    assert count(build("UNet", 2, {}).buffers()) == 11_794
    assert count(build("UNet", 2, {"bilinear": True}).buffers()) == 8_850


@pytest.mark.slow
def test_the_auxiliary_head_is_optional():
    with_aux, without = (build("PSPNet", 21, {**NO, "use_aux": aux}) for aux in (True, False))
    head = 1024 * 256 * 9 + 2 * 256 + 256 * 21 + 21
    assert count(with_aux.parameters()) - count(without.parameters()) == head
