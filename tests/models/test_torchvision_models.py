"""Networks of torchvision behind the contract."""

from __future__ import annotations

import copy

import pytest
import torch
from torchvision.models import mobilenet_v3_large

from models import TV
from tests.models.foreign import assert_contract, count
from tests.utils.training.test_activation_checkpointing import assert_equal, step
from utils.training.activation_checkpointing import checkpoint_activations

COUNTS = [
    ("fcn_resnet50", 35_322_218),
    ("fcn_resnet101", 54_314_346),
    ("deeplabv3_resnet50", 42_004_074),
    ("deeplabv3_resnet101", 60_996_202),
    ("deeplabv3_mobilenet_v3_large", 11_029_328),
    ("lraspp_mobilenet_v3_large", 3_221_538),
]
SMALL = ["deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"]


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "expected"), COUNTS)
def test_published_parameter_counts(architecture, expected):
    with torch.device("meta"):
        assert count(TV(21, architecture=architecture, pretrained=False)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("architecture", SMALL)
@pytest.mark.filterwarnings("ignore:`torch.jit.trace", "ignore::torch.jit.TracerWarning")  # in their own code
def test_its_networks_keep_the_contract(architecture):
    torch.manual_seed(0)
    assert_contract(lambda **freezing: TV(4, 5, architecture, False, **freezing))


@pytest.mark.slow
def test_the_auxiliary_head_is_for_training_and_optional():
    images = torch.randn(2, 3, 32, 32)
    model = TV(4, 3, "deeplabv3_mobilenet_v3_large", False).train()
    output = model(images)
    assert [aux.shape for aux in output.aux] == [output.logits.shape] and model.eval()(images).aux == ()
    assert TV(4, 3, "deeplabv3_mobilenet_v3_large", False, use_aux=False).train()(images).aux == ()


@pytest.mark.slow
def test_logits_are_torchvisions():
    torch.manual_seed(0)
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    theirs = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4).eval()
    ours = TV(4, 3, "lraspp_mobilenet_v3_large", False).eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        assert torch.allclose(ours(images).logits, theirs(images)["out"], atol=1e-6)


@pytest.mark.slow
def test_a_file_of_weights_reaches_the_backbone(tmp_path):
    source = mobilenet_v3_large(weights=None)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    model = TV(3, architecture="lraspp_mobilenet_v3_large", pretrained=str(tmp_path / "w.pth"))
    own = dict(model.backbone.named_parameters())
    assert own and all(torch.equal(own[k], p) for k, p in source.features.named_parameters() if k in own)


@pytest.mark.slow
def test_activation_checkpointing_saves_memory():
    torch.manual_seed(0)
    plain = TV(4, 3, "deeplabv3_mobilenet_v3_large", False)
    thrifty = copy.deepcopy(plain)
    checkpoint_activations(thrifty)
    images = torch.randn(2, 3, 64, 96)
    peaks = step(plain, images), step(thrifty, images)
    assert_equal(plain, thrifty)
    assert peaks[1] < 0.9 * peaks[0]
