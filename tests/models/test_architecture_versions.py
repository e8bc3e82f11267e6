"""Architecture versions: checkpoints of a model whose layers or arithmetic have changed since."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

import models
from base import BaseModel
from models.build import build_model, names_of, recorded_version
from models.trained import model_from_checkpoint
from tests.checkpoints import make_checkpoint, make_info
from utils.config.factory import Component
from utils.errors import CheckpointError, ConfigError
from utils.run.checkpoint import load_checkpoint
from utils.training.finetune import start_from

ARCH = {"type": "Changed", "args": {"width": 3}}


class Changed(BaseModel):
    """Version 1 had no activation."""

    architecture_version = 2

    def __init__(self, num_classes: int, in_channels: int = 3, width: int = 4, activation: bool = True):
        super().__init__(num_classes, in_channels)
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.activation = nn.ReLU() if activation else nn.Identity()
        self.last = nn.Conv2d(width, num_classes, 1)

    @classmethod
    def arguments_of_version(cls, version, arguments):
        return {**arguments, "activation": False}

    def _forward(self, images):
        return self.last(self.activation(self.first(images)))


class Cut(Changed):
    """A model whose first version can no longer be built."""

    arguments_of_version = classmethod(BaseModel.arguments_of_version.__func__)


class Elsewhere(Changed):
    """A model whose version 2 changed only networks with the activation."""


@pytest.fixture(autouse=True)
def catalogue(monkeypatch):
    monkeypatch.setattr(models, "Elsewhere", Elsewhere, raising=False)
    monkeypatch.setattr(models, "Changed", Changed, raising=False)
    monkeypatch.setattr(models, "FormerlyChanged", Changed, raising=False)
    monkeypatch.setattr(models, "Cut", Cut, raising=False)


@pytest.fixture
def old(tmp_path):
    """Checkpoint of version 1, which records no version."""
    return make_checkpoint(tmp_path / "old.pth", arch=ARCH)


def test_a_checkpoint_without_a_version_builds_the_first_one(old):
    model, _ = model_from_checkpoint(load_checkpoint(old))
    assert isinstance(model.activation, nn.Identity) and model.first.out_channels == 3
    images = torch.randn(1, 3, 8, 8)
    assert torch.equal(model(images).logits, model.last(model.first(images)))


def test_a_checkpoint_of_this_version_builds_this_one(tmp_path):
    path = make_checkpoint(tmp_path / "new.pth", arch=ARCH, facts={"architecture_version": 2})
    assert isinstance(model_from_checkpoint(load_checkpoint(path))[0].activation, nn.ReLU)


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        (
            "Cut",
            1,
            "arch.type: Cut is of architecture version 1, .* knows version 2 only; use the .*Segwright",
        ),
        ("Changed", 3, "arch.type: Changed is of architecture version 3, .* knows 2 and older; .*newer"),
    ],
)
def test_a_version_that_cannot_be_built_is_refused_in_one_line(tmp_path, name, version, message):
    arch = {"type": name, "args": {}}
    facts = {"architecture_version": version, "versions": {"segwright": "9.9"}}
    path = make_checkpoint(tmp_path / "a.pth", arch=arch, facts=facts)
    with pytest.raises(CheckpointError, match=message) as caught:
        model_from_checkpoint(load_checkpoint(path))
    assert "\n" not in str(caught.value) and "written by Segwright 9.9" in str(caught.value)
    with pytest.raises(ConfigError, match=message):
        build_model(Component(name, {}), make_info(), version)


def test_the_version_that_a_run_records_is_that_of_its_start():
    arch = Component("Changed", {})
    assert recorded_version(arch, None) == 2
    assert recorded_version(arch, {"arch": {"type": "Changed"}}) == 1
    assert recorded_version(arch, {"arch": {"type": "Changed"}, "architecture_version": 2}) == 2
    assert recorded_version(arch, {"arch": {"type": "UNet"}}) == 2  # another model, which is refused later


def test_init_from_says_what_builds_the_network_of_an_older_checkpoint(old, tmp_path, caplog):
    arch, info = Component("FormerlyChanged", {"width": 3}), make_info()
    model = build_model(arch, info)
    assert names_of(model) == {"Changed", "FormerlyChanged"}
    with caplog.at_level(logging.WARNING):
        start_from(str(old), model, info, names=names_of(model))
    assert caplog.messages == [
        "init_from: the checkpoint's Changed is of architecture version 1, the model of version 2, so equal "
        'weights compute something else; the network of the checkpoint is "activation": false in arch.args'
    ]
    caplog.clear()
    new = make_checkpoint(tmp_path / "new.pth", arch=ARCH, facts={"architecture_version": 2})
    with caplog.at_level(logging.WARNING):
        start_from(str(new), model, info, names=names_of(model))
    assert not caplog.messages


def test_init_from_says_nothing_where_the_change_is_not_in_the_network(tmp_path, caplog):
    """Version 2 of DeepLab changed Xception only."""
    info, arch = make_info(), {"type": "Elsewhere", "args": {"width": 3, "activation": False}}
    model = build_model(Component("Elsewhere", arch["args"]), info)
    start_from(str(make_checkpoint(tmp_path / "old.pth", arch=arch)), model, info, names=names_of(model))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_init_from_of_a_version_that_cannot_be_built_warns_too(tmp_path, caplog):
    info = make_info()
    path = make_checkpoint(tmp_path / "old.pth", arch={"type": "Cut", "args": {}})
    model = build_model(Component("Cut", {}), info)
    with caplog.at_level(logging.WARNING):
        start_from(str(path), model, info, names=names_of(model))
    assert caplog.messages[0].endswith("so equal weights compute something else")
