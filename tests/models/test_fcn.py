"""FCN's up-sampling and score layers."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import models
from models.fcn import _Bilinear
from models.trained import model_from_checkpoint
from tests.checkpoints import make_info
from tests.models.catalogue import smallest

NAMES = [("FCN32s", 0), ("FCN16s", 1), ("FCN8s", 2)]


def score_layers(model, skips):
    return [model.score_fr, *(getattr(model, f"score_pool{4 - i}") for i in range(skips))]


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_a_deconvolution_starts_as_bilinear_interpolation(factor):
    score = torch.randn(1, 3, 5, 6, dtype=torch.float64)
    expected = F.interpolate(score, scale_factor=factor, mode="bilinear", align_corners=False)
    edge, zero = (_Bilinear(3, factor, edge).double()(score) for edge in (True, False))
    assert edge.shape == zero.shape == expected.shape
    assert torch.allclose(edge, expected, atol=1e-7)
    inside = slice(factor, -factor)
    assert torch.allclose(zero[..., inside, inside], expected[..., inside, inside], atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "skips"), NAMES)
@pytest.mark.parametrize("learn", [False, True])
def test_equal_scores_stay_equal_up_to_the_corners(name, skips, learn):
    model = smallest(name, learn_upsampling=learn).eval()
    with torch.inference_mode():
        for layer in score_layers(model, skips):
            layer.bias.fill_(1 / (1 + skips))
        logits = model(torch.randn(1, 3, 70, 100)).logits
    assert torch.allclose(logits, torch.ones_like(logits), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "skips"), NAMES)
def test_the_border_changes_nothing_inside(name, skips):
    torch.manual_seed(0)
    edge, zero = (smallest(name, border=border).eval() for border in ("edge", "zero"))
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        for layer in score_layers(zero, skips):
            layer.weight.normal_(0, 0.1)
        edge.load_state_dict(zero.state_dict(), strict=False)  # all but the deconvolutions
        found, expected = edge(images).logits, zero(images).logits
    reach = 16 + 2 * 16 * bool(skips)  # of the last deconvolution, and of those before it
    inside = slice(reach, 224 - reach)
    assert torch.allclose(found[..., inside, inside], expected[..., inside, inside], atol=1e-4)
    assert (found - expected)[..., 0, 0].abs().max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("name", "skips"), NAMES)
def test_scores_start_at_zero_and_every_skip_adds_its_own(name, skips):
    torch.manual_seed(0)
    model = smallest(name).eval()
    images = torch.randn(1, 3, 64, 64)
    layers = score_layers(model, skips)
    assert len(layers) == 1 + skips
    with torch.inference_mode():
        assert not model(images).logits.any()
        for layer in layers:
            layer.bias.fill_(1)
        logits = model(images).logits
    assert torch.allclose(logits, torch.full_like(logits, 1 + skips))


@pytest.mark.slow
@pytest.mark.parametrize("learn", [False, True])
def test_a_checkpoint_of_version_1_sees_zeros_at_the_border(monkeypatch, learn):
    monkeypatch.setattr("models.vgg.HIDDEN", 64)
    monkeypatch.setattr("torch.nn.Linear.reset_parameters", lambda layer: None)  # of VGG's classifier
    arguments = {"backbone": "vgg11", "pretrained": False, "learn_upsampling": learn}
    old = models.FCN8s(4, **arguments, border="zero").eval()
    order = [name for name, _ in old.named_parameters()][-9:]
    assert order == [
        "score_fr.weight", "score_fr.bias", "score_pool4.weight", "score_pool4.bias", "upscore2.weight",
        "score_pool3.weight", "score_pool3.bias", "upscore_pool4.weight", "upscore.weight",
    ]  # fmt: skip  # an optimizer's state knows parameters by their number
    state = {"arch": {"type": "FCN8", "args": arguments}, "dataset": make_info().to_plain()}
    model, _ = model_from_checkpoint({**state, "model": old.state_dict()})
    with torch.inference_mode():
        for m in (old, model):
            m.score_fr.bias.fill_(1)
        images = torch.randn(1, 3, 64, 64)
        assert torch.equal(model(images).logits, old(images).logits)
        assert model(images).logits[0, 0, 0, 0] < 0.2
