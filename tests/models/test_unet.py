"""U-Net's decoder on other backbones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import models
from models.trained import model_from_checkpoint
from tests.checkpoints import make_info
from tests.models.catalogue import smallest


def decode(model, features):
    """Logits of a decoder, of the backbone's features at strides 4 to 32."""
    model.backbone.forward = lambda images: features
    return model._forward(torch.empty(0))


@pytest.mark.slow
def test_a_decoder_with_norms_is_not_affine():
    """Of an affine map, the value half-way is the mean of the values."""
    torch.manual_seed(0)
    for norm, affine in ((True, False), (False, True)):
        model = smallest("UNetBackbone", decoder_norm=norm).eval()
        model._indices = (0, 1, 2, 3)
        one, two = (
            [torch.randn(1, c, 8 >> i, 8 >> i) for i, c in enumerate((64, 128, 256, 512))] for _ in range(2)
        )
        half = [(a + b) / 2 for a, b in zip(one, two, strict=True)]
        with torch.inference_mode():
            mean = (decode(model, one) + decode(model, two)) / 2
            assert torch.allclose(decode(model, half), mean, atol=1e-4) == affine


@pytest.mark.slow
def test_a_checkpoint_of_version_1_has_the_affine_decoder():
    arguments = {"backbone": "resnet18", "pretrained": False}
    old = models.UNetResnet(4, **arguments, decoder_norm=False).eval()
    assert not any(isinstance(m, nn.BatchNorm2d) for part in (old.up, old.last) for m in part.modules())
    state = {"arch": {"type": "UNetResnet", "args": arguments}, "dataset": make_info().to_plain()}
    model, _ = model_from_checkpoint({**state, "model": old.state_dict()})
    images = torch.randn(1, 3, 33, 40)
    with torch.inference_mode():
        assert torch.equal(model(images).logits, old(images).logits)


def test_the_earlier_name_is_an_alias():
    assert models.UNetResnet is models.UNetBackbone
