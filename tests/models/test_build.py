"""Models that are built from a config are held to the data set's classes."""

from __future__ import annotations

import re

import pytest
import torch

from models.build import build_model
from models.unet import UNet
from tests.checkpoints import make_info
from utils.config.factory import Component
from utils.errors import ConfigError


class OtherClasses(UNet):
    def __init__(self, num_classes, in_channels=3):
        super().__init__(2, in_channels, base_channels=2)


class ForwardReturnsNone(UNet):
    def forward(self, images):
        return None


class ForwardReturnsATensor(UNet):
    def forward(self, images):
        return super().forward(images).logits


def own(cls: type[UNet], **args) -> Component:
    return Component.from_plain({"type": f"{__name__}.{cls.__name__}", "args": args}, "arch")


def place(cls: type[UNet], name: str) -> str:
    line = vars(cls)[name].__code__.co_firstlineno
    return re.escape(f"arch.type: {cls.__name__}.{name} ({__file__}, line {line}) ")


def test_an_empty_name_of_weights_is_no_false():
    arch = Component.from_plain({"type": "SegFormer", "args": {"pretrained": ""}}, "arch")
    with pytest.raises(ConfigError, match=r"arch\.args\.pretrained: is empty; give a file"):
        build_model(arch, make_info(3))


def test_a_model_of_other_classes_than_the_data_is_refused_when_it_is_built():
    with pytest.raises(
        ConfigError, match=place(OtherClasses, "__init__") + "made a model of 2 classes, .* 4"
    ):
        build_model(own(OtherClasses), make_info(4))
    assert build_model(own(OtherClasses), make_info(2)).num_classes == 2


@pytest.mark.parametrize(("cls", "what"), [(ForwardReturnsNone, "None"), (ForwardReturnsATensor, "a Tensor")])
def test_a_forward_of_the_users_own_returns_a_segmentation_output(cls, what):
    model = build_model(own(cls, base_channels=2), make_info(4))
    with pytest.raises(
        ConfigError, match=place(cls, "forward") + f"returned {what}; it returns a SegmentationOutput"
    ):
        model(torch.zeros(2, 3, 32, 32))
