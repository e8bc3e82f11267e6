"""UPerNet's decoder against transformers' own, and the layout of version 1."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

import models
from models.trained import model_from_checkpoint
from tests.checkpoints import make_info
from tests.models.catalogue import smallest


@pytest.mark.slow
def test_the_decoder_is_that_of_transformers():
    upernet = pytest.importorskip("transformers.models.upernet.modeling_upernet")
    torch.manual_seed(0)
    channels = [64, 128, 256, 512]
    config = SimpleNamespace(pool_scales=[1, 2, 3, 6], hidden_size=16, num_labels=5)
    theirs = upernet.UperNetHead(config, channels).eval()
    for tensor in theirs.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 0.3)  # of either sign, the scores would be near 0
    weights = list(theirs.state_dict().values())
    weights = [*weights[2:], *weights[:2]]  # the classifier comes last here
    ours = smallest("UperNet", fpn_channels=16).eval()
    names = [name for name in ours.state_dict() if not name.startswith("backbone.")]
    ours.load_state_dict(dict(zip(names, weights, strict=True)), strict=False)
    features = [torch.randn(2, c, 24 >> i, 16 >> i) for i, c in enumerate(channels)]
    ours._indices, ours.backbone.forward = (0, 1, 2, 3), lambda images: features
    with torch.inference_mode():
        expected = theirs(list(features))
        assert torch.allclose(ours._forward(torch.empty(0)), expected, rtol=1e-4)


@pytest.mark.slow
def test_the_published_count_comes_out():
    """66.4 million on Cityscapes, of which an auxiliary head and a stem of three convolutions are not ours."""
    with torch.device("meta"):
        model = models.UperNet(19, backbone="resnet50", pretrained=False)
    count = sum(p.numel() for p in model.parameters())
    head = 1024 * 256 * 9 + 2 * 256 + 256 * 19 + 19
    stem = 9 * (3 * 32 + 32 * 32 + 32 * 64) + 2 * (32 + 32) - 49 * 3 * 64
    assert round((count + head + stem) / 1e6, 1) == 66.4


@pytest.mark.slow
def test_a_checkpoint_of_version_1_has_the_layout_of_the_family():
    arguments = {"backbone": "resnet18", "pretrained": False}
    torch.manual_seed(0)
    old = models.UperNet(4, **arguments, layout="family", fpn_channels=256).eval()
    assert [type(layer).__name__ for layer in old.lateral] == ["Conv2d", "Conv2d", "Identity", "Conv2d"]
    state = {"arch": {"type": "UperNet", "args": arguments}, "dataset": make_info().to_plain()}
    model, _ = model_from_checkpoint({**state, "model": old.state_dict()})
    images = torch.randn(1, 3, 33, 40)
    with torch.inference_mode():
        assert torch.equal(model(images).logits, old(images).logits)
    narrow = models.UperNet.arguments_of_version(1, {"fpn_channels": 16})
    assert narrow == {"fpn_channels": 16, "layout": "family"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["UperNet", "GCN", "UNetBackbone"])
@pytest.mark.parametrize("backbone", ["timm/test_convnext", "timm/test_efficientnet"])
def test_backbones_of_timm(name, backbone):
    """The first has no feature of stride 2, which none of the three needs."""
    model = smallest(name, backbone=backbone).eval()
    with torch.inference_mode():
        assert model(torch.randn(1, 3, 33, 50)).logits.shape == (1, 5, 33, 50)
    assert model.get_backbone_params() and model.get_decoder_params()


@pytest.mark.parametrize("name", ["UperNet", "GCN", "UNetBackbone"])
def test_an_unknown_backbone_is_named_before_anything_is_built(name):
    (problem,) = getattr(models, name).check_arguments({"backbone": "resnet81"}, "arch.args")
    assert problem.startswith("arch.args.backbone: 'resnet81' is not offered; did you mean")
