"""ENet's entrance, its authors' blocks, and the layout of version 1."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import models
from models import ENet
from models.trained import model_from_checkpoint
from tests.checkpoints import make_info


@pytest.mark.slow
def test_the_entrance_joins_a_convolution_and_the_pooled_image():
    model = ENet(2, in_channels=15)
    assert model.entrance.out_channels == 1
    assert model.eval()(torch.randn(1, 15, 9, 9)).logits.shape == (1, 2, 9, 9)


def test_more_channels_than_the_entrance_holds_are_refused():
    with pytest.raises(ValueError, match="in_channels: 16, but ENet's 16 entrance channels"):
        ENet(2, in_channels=16)


def test_blocks_that_change_the_size_narrow_to_a_quarter_of_their_output():
    model, family = ENet(2), ENet(2, layout="family")
    blocks = ("down1", "down2", "up4", "up5")
    assert [getattr(model, name).body[0].out_channels for name in blocks] == [16, 32, 16, 4]
    assert [getattr(family, name).body[0].out_channels for name in blocks] == [4, 16, 32, 16]


def test_nothing_is_activated_before_the_addition():
    """The branch ends in a norm and dropout; the family has an activation between them."""
    for layout, expected in (("paper", nn.BatchNorm2d), ("family", (nn.PReLU, nn.ReLU))):
        model = ENet(2, layout=layout)
        blocks = [model.down1, model.down2, *model.stage1, *model.stage2, *model.stage4, model.stage5]
        assert len(blocks) == 25
        assert all(isinstance(block.body[-2], expected) for block in blocks)
        assert all(isinstance(block.body[-1], nn.Dropout2d) for block in blocks)


def test_a_prelu_has_a_slope_for_each_channel():
    slopes = {m.num_parameters for m in ENet(2).modules() if isinstance(m, nn.PReLU)}
    assert slopes == {16, 32, 64, 128}


@pytest.mark.slow
def test_a_checkpoint_of_version_1_has_the_layout_of_the_family():
    old = models.ENet(4, layout="family").eval()
    state = {"arch": {"type": "ENet", "args": {}}, "dataset": make_info().to_plain()}
    model, _ = model_from_checkpoint({**state, "model": old.state_dict()})
    images = torch.randn(1, 3, 33, 40)
    with torch.inference_mode():
        assert torch.equal(model(images).logits, old(images).logits)
