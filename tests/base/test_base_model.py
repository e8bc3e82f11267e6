"""The base class: sizes, auxiliary heads, freezing, the signature."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest
import torch
from torch import nn

from base import BaseModel, SegmentationOutput
from utils.errors import ConfigError


class Coarse(BaseModel):
    """Logits at a quarter of the input, with an auxiliary head that is always computed."""

    stride = 4

    def __init__(self, num_classes: int, in_channels: int = 3, width: int = 4) -> None:
        super().__init__(num_classes, in_channels)
        self.backbone = nn.Sequential(nn.Conv2d(in_channels, width, 4, 4), nn.BatchNorm2d(width))
        self.head = nn.Conv2d(width, num_classes, 1)
        self.seen: tuple[int, ...] = ()

    def _forward(self, images):
        self.seen = tuple(images.shape)
        features = self.backbone(images)
        return SegmentationOutput(self.head(features), (self.head(features),))


class Same(BaseModel):
    """The first channel as it is."""

    stride = 8

    def _forward(self, images):
        return images[:, :1]


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (4, 8), (9, 2)])
def test_pads_to_the_stride_and_crops_back(size):
    model = Coarse(3)
    output = model(torch.randn(2, 3, *size))
    assert model.seen[2] % 4 == 0 and model.seen[3] % 4 == 0
    assert output.logits.shape == output.aux[0].shape == (2, 3, *size)


def test_padding_is_at_the_bottom_right_and_changes_no_pixel():
    images = torch.randn(1, 3, 5, 11)
    assert torch.equal(Same(1)(images).logits, images[:, :1])


def test_auxiliary_heads_are_for_training_only():
    model = Coarse(2)
    assert len(model.train()(torch.randn(2, 3, 8, 8)).aux) == 1
    assert model.eval()(torch.randn(2, 3, 8, 8)).aux == ()


class WithExtra(Coarse):
    """A raw output for a loss of the model's own, always computed."""

    def _forward(self, images):
        output = super()._forward(images)
        return output._replace(extra=(output.logits[:, :1],))


def test_extra_outputs_are_raw_and_for_training_only():
    model = WithExtra(2)
    (extra,) = model.train()(torch.randn(2, 3, 9, 5)).extra
    assert extra.shape == (2, 1, 3, 2)
    output = model.eval()(torch.randn(2, 3, 8, 8))
    assert output.extra == output.aux == ()


def test_outputs_of_several_devices_are_gathered(monkeypatch):
    module = importlib.import_module("torch.nn.parallel.scatter_gather")
    monkeypatch.setattr(
        module.Gather, "apply", lambda device, dim, *parts: torch.cat(parts, dim)
    )  # needs GPUs
    model = WithExtra(2).train()
    parts = [model(torch.randn(n, 3, 8, 8)) for n in (2, 1)]
    whole = module.gather(parts, torch.device("cpu"))
    assert isinstance(whole, SegmentationOutput)
    assert torch.equal(whole.extra[0], torch.cat([part.extra[0] for part in parts]))
    assert whole.logits.shape == whole.aux[0].shape == (3, 2, 8, 8)
    evaluated = module.gather([model.eval()(torch.randn(1, 3, 8, 8)) for _ in range(2)], torch.device("cpu"))
    assert evaluated.aux == evaluated.extra == ()


def test_an_exported_program_has_no_extra_outputs():
    model = WithExtra(2).eval()
    images = torch.randn(1, 3, 8, 8)
    program = torch.export.export(model, (images,))
    assert len(program.graph_signature.user_outputs) == 1
    assert torch.equal(program.module()(images).logits, model(images).logits)


def test_the_signature_shows_the_freezing_options():
    parameters = inspect.signature(Coarse).parameters
    assert list(parameters) == ["num_classes", "in_channels", "width", "freeze_bn", "freeze_backbone"]
    assert parameters["freeze_bn"].annotation is bool


def test_frozen_batch_norm_neither_moves_nor_trains():
    model = Coarse(2, freeze_bn=True)
    norm = model.backbone[1]
    before = norm.running_mean.clone()
    model.train()
    model(torch.randn(4, 3, 8, 8) + 5).logits.sum().backward()
    assert torch.equal(norm.running_mean, before)
    assert norm.weight.grad is None
    assert model.backbone[0].weight.grad is not None


def test_a_frozen_backbone_is_not_in_the_groups():
    model = Coarse(2, freeze_backbone=True)
    assert model.get_backbone_params() == []
    assert {id(p) for p in model.get_decoder_params()} == {id(p) for p in model.head.parameters()}
    assert not model.train().backbone.training


def test_freezing_later_is_kept_too():
    model = Coarse(2)
    model.freeze(bn=True)
    model.freeze(backbone=True)
    model.train()
    assert not model.backbone[1].training and not model.backbone.training and model.head.training


def test_a_model_without_a_backbone_has_none_to_freeze():
    with pytest.raises(ValueError, match="freeze_backbone: Same has no backbone to freeze"):
        Same(2, freeze_backbone=True)
    assert Same(2).get_backbone_params() == []


def test_one_logit_stands_beside_0_so_that_softmax_is_the_sigmoid():
    class Single(Same):
        one_logit = True

    images = torch.randn(2, 3, 4, 5)
    logits = Single(2)(images).logits
    assert logits.shape == (2, 2, 4, 5)
    torch.testing.assert_close(logits.softmax(dim=1)[:, 1], images[:, 0].sigmoid())


def test_one_value_per_channel_is_refused_with_the_remedy():
    with pytest.raises(ConfigError, match=r"train_loader\.args\.batch_size.*at least 2"):
        Coarse(2).train()(torch.randn(1, 3, 4, 4))


def test_other_value_errors_are_not_rewritten():
    class Broken(BaseModel):
        def _forward(self, images):
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        Broken(2)(torch.randn(1, 3, 4, 4))


@pytest.mark.parametrize(("num_classes", "in_channels"), [(0, 3), (3, 0)])
def test_needs_a_class_and_a_channel(num_classes, in_channels):
    with pytest.raises(ValueError, match="at least 1"):
        Coarse(num_classes, in_channels)


class _Returns(BaseModel):
    def __init__(self, result, num_classes=3):
        super().__init__(num_classes)
        self.result = result

    def _forward(self, images):
        return self.result


FITS = torch.zeros(2, 3, 8, 8)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (None, "returned None; it returns logits"),
        ({"out": FITS}, "returned a dict; it returns logits"),
        ((FITS, ()), "returned a tuple; it returns logits"),
        (FITS[:, :2], r"returned the shape \(2, 2, 8, 8\); expected \(N, 3, H, W\)"),
        (FITS[0], r"returned the shape \(3, 8, 8\); expected \(N, 3, H, W\)"),
        (SegmentationOutput(FITS, (FITS, None)), "returned None; it returns logits"),
        (SegmentationOutput(FITS, (FITS[:, :2],)), r"returned the shape \(2, 2, 8, 8\)"),
        (SegmentationOutput(FITS, (), (None,)), "returned an extra that is not a tuple of tensors"),
    ],
)
def test_an_output_that_is_no_logits_names_the_users_file_and_line(result, words):
    line = _Returns._forward.__code__.co_firstlineno
    place = re.escape(f"arch.type: _Returns._forward ({__file__}, line {line}) ")
    with pytest.raises(ConfigError, match=place + words):
        _Returns(result)(torch.zeros(2, 3, 8, 8))
    assert _Returns(FITS)(torch.zeros(2, 3, 8, 8)).logits.shape == FITS.shape


def test_a_model_counts_its_parameters():
    from tests.parts import TinyNet

    model = TinyNet(3)  # 3x8x9 + 8, batch norm 2x8, 8x3 + 3
    assert model.summary() == "TinyNet: 267 parameters, 267 of them trained"
    model.freeze(bn=True)
    assert str(model).endswith("TinyNet: 267 parameters, 251 of them trained")
