"""Networks of segmentation-models-pytorch and torchvision behind the contract."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn

from models import SMP, TV
from models import smp as smp_module
from tests.models.test_activation_checkpointing import assert_equal, step
from utils.training.activation_checkpointing import checkpoint_activations

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    package = pytest.importorskip("segmentation_models_pytorch")

SMP_COUNTS = [
    ("Unet", "resnet34", 24_439_269),
    ("Unet", "resnet50", 32_524_005),
    ("UnetPlusPlus", "resnet34", 26_081_509),
    ("Linknet", "resnet34", 21_772_597),
    ("FPN", "resnet34", 23_157_973),
    ("PAN", "resnet34", 21_481_596),
    ("DeepLabV3Plus", "resnet34", 22_442_597),
    ("DeepLabV3Plus", "resnet50", 26_682_725),
]
TV_COUNTS = [
    ("fcn_resnet50", 35_322_218),
    ("fcn_resnet101", 54_314_346),
    ("deeplabv3_resnet50", 42_004_074),
    ("deeplabv3_resnet101", 60_996_202),
    ("deeplabv3_mobilenet_v3_large", 11_029_328),
    ("lraspp_mobilenet_v3_large", 3_221_538),
]


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("architecture", "encoder", "expected"), SMP_COUNTS)
def test_smp_counts(architecture, encoder, expected):
    assert count(SMP(21, architecture=architecture, encoder_name=encoder)) == expected


@pytest.mark.parametrize(("architecture", "expected"), TV_COUNTS)
def test_torchvision_counts(architecture, expected):
    with torch.device("meta"):
        assert count(TV(21, architecture=architecture, pretrained=False)) == expected


@pytest.mark.parametrize(
    "build",
    [
        lambda **o: SMP(4, 5, "Unet", "resnet18", **o),
        lambda **o: SMP(4, 5, "DeepLabV3Plus", "mobilenet_v2", **o),
        lambda **o: SMP(4, 5, "FPN", "resnet18", options={"decoder_dropout": 0.1}, **o),
        lambda **o: TV(4, 5, "deeplabv3_mobilenet_v3_large", False, **o),
        lambda **o: TV(4, 5, "lraspp_mobilenet_v3_large", False, **o),
    ],
)
@pytest.mark.filterwarnings("ignore:`torch.jit.trace", "ignore::torch.jit.TracerWarning")  # in their own code
def test_contract(build):
    torch.manual_seed(0)
    model = build()
    for size in ((1, 1), (33, 47), (70, 31)):
        assert model.eval()(torch.randn(1, 5, *size)).logits.shape == (1, 4, *size)
    with torch.inference_mode():
        batch, odd = torch.randn(2, 5, 40, 56), torch.randn(1, 5, 33, 47)
        singles = torch.cat([model(image[None]).logits for image in batch])
        assert torch.allclose(model(batch).logits, singles, atol=1e-5 * max(1, singles.abs().max()))
        traced = torch.jit.trace(model, (odd,), check_trace=False)
        assert torch.equal(traced(odd * 2)[0], model(odd * 2).logits)
    model.train()
    images = torch.randn(2, 5, 64, 96)
    output = model(images)
    sum(x.sum() for x in (output.logits, *output.aux)).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    backbone, decoder = model.get_backbone_params(), model.get_decoder_params()
    assert backbone and decoder and len(backbone) + len(decoder) == len(list(model.parameters()))
    frozen = build(freeze_backbone=True, freeze_bn=True).train()
    assert frozen.get_backbone_params() == []
    assert not any(m.training for m in frozen.modules() if isinstance(m, nn.BatchNorm2d))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "Unett"}, "architecture: 'Unett' is not offered; did you mean 'Unet'"),
        ({"encoder_name": "resnet43"}, "encoder_name: 'resnet43' is not offered; did you mean 'resnet"),
        ({"encoder_weights": "imagnet"}, "encoder_weights of resnet34: .*did you mean 'imagenet'"),
        ({"options": {"decoder_chanels": [1]}}, "options of Unet: .*did you mean 'decoder_channels'"),
        (
            {"architecture": "DeepLabV3Plus", "encoder_name": "xception"},
            "DeepLabV3Plus with encoder xception: ",
        ),
    ],
)
def test_what_is_not_offered_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SMP(3, **arguments)


def test_a_missing_package_names_the_remedy(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(ValueError, match=r"pip install -r requirements/smp\.txt"):
        SMP(3)
    assert smp_module is not None


def test_pretrained_backbone_of_torchvision_is_used(tmp_path):
    from torchvision.models import mobilenet_v3_large

    source = mobilenet_v3_large(weights=None)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    model = TV(3, architecture="lraspp_mobilenet_v3_large", pretrained=str(tmp_path / "w.pth"))
    own = dict(model.backbone.named_parameters())
    assert own and all(torch.equal(own[k], p) for k, p in source.features.named_parameters() if k in own)


@pytest.mark.parametrize(
    "build",
    [
        lambda: SMP(4, 3, "Unet", "resnet18"),
        lambda: SMP(4, 3, "DeepLabV3Plus", "efficientnet-b0"),
        lambda: TV(4, 3, "deeplabv3_mobilenet_v3_large", False),
    ],
)
def test_activation_checkpointing(build):
    torch.manual_seed(0)
    plain = build()
    thrifty = copy.deepcopy(plain)
    checkpoint_activations(thrifty)
    images = torch.randn(2, 3, 64, 96)
    peaks = step(plain, images), step(thrifty, images)
    assert_equal(plain, thrifty)
    assert peaks[1] < 0.9 * peaks[0]
