"""Entrance of ENet."""

from __future__ import annotations

import pytest
import torch

from models import ENet


@pytest.mark.slow
def test_the_entrance_joins_a_convolution_and_the_pooled_image():
    model = ENet(2, in_channels=15)
    assert model.entrance.out_channels == 1
    assert model.eval()(torch.randn(1, 15, 9, 9)).logits.shape == (1, 2, 9, 9)


def test_more_channels_than_the_entrance_holds_are_refused():
    with pytest.raises(ValueError, match="in_channels: 16, but ENet's 16 entrance channels"):
        ENet(2, in_channels=16)
