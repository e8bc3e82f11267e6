"""Auxiliary heads of every decoder: in training only, weighted by the config, beside unchanged weights."""

from __future__ import annotations

import pytest
import torch

from base import SegmentationOutput
from models import UNet, ViTSeg
from models.auxiliary import auxiliary_head
from tests.models.catalogue import LARGE, VIT, each_model, smallest

BUILT_IN = ("PSPDenseNet", "PSPNet", "DDRNet", "PIDNet")  # on by default
OTHERS = ("EoMT", "FCN16s", "FCN32s")  # a loss of its own on several blocks; as FCN8s
OPTIONS = {"ViTSeg": {"layers": [0, 1]}}


@pytest.mark.slow
@pytest.mark.parametrize("name", each_model(less=(*BUILT_IN, *OTHERS)))
def test_a_head_is_trained_and_nothing_else_changes(name):
    options = OPTIONS.get(name, {})
    torch.manual_seed(0)
    model = smallest(name, **options, use_aux=True)
    if name not in LARGE:
        torch.manual_seed(0)
        state, expected = model.state_dict(), smallest(name, **options).state_dict()
        extra = state.keys() - expected.keys()
        assert extra and all(key.startswith("aux.") for key in extra)
        assert all(torch.equal(state[key], value) for key, value in expected.items())
    output = model.train()(torch.randn(2, 3, 32, 32))
    (aux,) = output.aux
    assert aux.shape == output.logits.shape == (2, 5, 32, 32)
    assert model.eval()(torch.randn(1, 3, 33, 20)).aux == ()
    aux.square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.aux.parameters())
    below = [p for n, p in model.named_parameters() if not n.startswith("aux.") and p.grad is not None]
    assert any(p.grad.any() for p in below)


def test_the_head_is_on_the_features_of_its_depth():
    model = UNet(5, base_channels=4, use_aux=True).train()
    seen = []
    model.aux.register_forward_pre_hook(lambda head, args: seen.append(tuple(args[0].shape)))
    assert isinstance(model(torch.randn(2, 3, 32, 48)), SegmentationOutput)
    assert seen == [(2, 16, 8, 12)]
    assert auxiliary_head(3, 2)[-1].in_channels == 1


def test_a_single_layer_has_none_before_it():
    with pytest.raises(ValueError, match="use_aux: its head is on the last but one of 'layers'"):
        ViTSeg(5, **VIT, use_aux=True)
