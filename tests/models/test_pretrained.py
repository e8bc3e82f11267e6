"""Pretrained weights: where they go, and the messages where they are missing."""

from __future__ import annotations

import pytest
import torch
import torchvision

from models import DeepLab, PSPNet, UNetResnet
from models.pretrained import adapt_first, load_file
from tests.models.catalogue import smallest
from utils.errors import ConfigError


@pytest.mark.parametrize("build", [UNetResnet, PSPNet, DeepLab])
def test_models_take_the_file(build, resnet18):
    net, path = resnet18
    model = build(2, backbone="resnet18", pretrained=path)
    assert torch.equal(model.backbone.layer4[1].conv2.weight, net.layer4[1].conv2.weight)


@pytest.mark.parametrize("in_channels", [1, 4, 7])
def test_other_channel_counts_keep_the_response_to_grey(in_channels):
    torch.manual_seed(0)
    net = torchvision.models.resnet18(weights=None)
    grey = torch.randn(1, 1, 32, 32)
    with torch.inference_mode():
        expected = net.conv1(grey.expand(1, 3, -1, -1))
        adapt_first(net, in_channels, pretrained=True)
        assert torch.allclose(net.conv1(grey.expand(1, in_channels, -1, -1)), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"junk", "cannot be read as weights"),
        ({"a": torch.zeros(1)}, "are not those of resnet18"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, content, message):
    path = tmp_path / "w.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ConfigError, match=message) as caught:
        UNetResnet(2, backbone="resnet18", pretrained=str(path))
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_offline_names_the_file_and_its_place(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    for name in ("SegNet", "PSPDenseNet", "UNetResnet"):
        with pytest.raises(ConfigError, match=r"put \S+\.pth into .*checkpoints") as caught:
            smallest(name, pretrained=True)
        assert "\n" not in str(caught.value)


def test_weights_of_another_network_name_the_class_they_do_not_fit(tmp_path):
    torch.save({"weight": torch.zeros(2, 3)}, tmp_path / "w.pth")
    layer = torch.nn.Linear(3, 2)
    with pytest.raises(ConfigError, match="the weights are not those of Linear: Missing key"):
        load_file(layer, str(tmp_path / "w.pth"))
    torch.save({"weight": torch.zeros(2, 3), "bias": torch.ones(2)}, tmp_path / "w.pth")
    load_file(layer, str(tmp_path / "w.pth"))
    assert not layer.weight.any() and layer.bias.tolist() == [1, 1]
