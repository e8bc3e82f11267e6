"""Pretrained weights: where they go, and the messages where they are missing."""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path

import pytest
import torch
import torchvision
from timm.models import adapt_input_conv

from models import DeepLab, PSPNet, UNetResnet
from models.pretrained import adapt_first, load_file, load_pretrained
from tests.models.catalogue import smallest
from tests.utils.system.test_tensor_file import Hostile
from utils.errors import ConfigError


@pytest.mark.slow
@pytest.mark.parametrize("build", [UNetResnet, PSPNet, DeepLab])
def test_models_take_the_file(build, resnet18):
    net, path = resnet18
    model = build(2, backbone="resnet18", pretrained=path)
    assert torch.equal(model.backbone.layer4[1].conv2.weight, net.layer4[1].conv2.weight)


@pytest.mark.slow
@pytest.mark.parametrize("in_channels", [1, 4, 7])
def test_other_channel_counts_are_adapted_as_timm_does(in_channels, caplog):
    torch.manual_seed(0)
    net = torchvision.models.resnet18(weights=None)
    expected = adapt_input_conv(in_channels, net.conv1.weight)
    with caplog.at_level(logging.INFO):
        adapt_first(net, in_channels, pretrained=True)
    assert torch.equal(net.conv1.weight, expected)
    assert f"conv1.weight adapted from 3 to {in_channels} channels" in caplog.text


@pytest.mark.slow
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


@pytest.mark.slow
def test_offline_names_the_file_and_its_place(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    for name in ("SegNet", "PSPDenseNet", "UNetBackbone"):
        with pytest.raises(ConfigError, match=r"put \S+\.pth into .*checkpoints") as caught:
            smallest(name, pretrained=True)
        assert "\n" not in str(caught.value)


def test_weights_of_another_network_name_the_class_they_do_not_fit(tmp_path):
    torch.save({"weight": torch.zeros(2, 3)}, tmp_path / "w.pth")
    layer = torch.nn.Linear(3, 2)
    with pytest.raises(
        ConfigError, match="the weights are not those of Linear: 1 of its 2 tensors are missing"
    ):
        load_file(layer, str(tmp_path / "w.pth"))
    torch.save({"weight": torch.zeros(2, 3), "bias": torch.ones(2)}, tmp_path / "w.pth")
    load_file(layer, str(tmp_path / "w.pth"))
    assert not layer.weight.any() and layer.bias.tolist() == [1, 1]


@pytest.fixture
def published(tmp_path, monkeypatch, resnet18):
    """Publish a file as torchvision's weights of resnet18, named by its hash; return its cache path."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    cache = tmp_path / "home" / "hub" / "checkpoints"
    cache.mkdir(parents=True)

    def publish(source: str | Path) -> Path:
        digest = hashlib.sha256(Path(source).read_bytes()).hexdigest()
        served = tmp_path / "server" / f"resnet18-{digest[:8]}.pth"
        served.parent.mkdir()
        served.write_bytes(Path(source).read_bytes())
        weights = torchvision.models.ResNet18_Weights.DEFAULT.value
        monkeypatch.setattr(weights, "url", served.as_uri())
        return cache / served.name

    return publish


def load(pretrained: bool | str = True) -> torchvision.models.ResNet:
    net = torchvision.models.resnet18(weights=None)
    load_pretrained(net, pretrained, "resnet18")
    return net


@pytest.mark.slow
def test_published_weights_are_downloaded_once(published, resnet18, monkeypatch, capsys):
    net, source = resnet18
    cached = published(source)
    assert torch.equal(load().fc.weight, net.fc.weight) and cached.is_file()
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)
    assert torch.equal(load().fc.weight, net.fc.weight)
    capsys.readouterr()  # the bar of the download


@pytest.mark.slow
def test_a_wrong_download_is_not_kept(published, resnet18, capsys):
    cached = published(resnet18[1])
    served = cached.parents[3] / "server" / cached.name
    served.write_bytes(b"<html>log in first</html>")
    with pytest.raises(ConfigError, match="cannot be downloaded .*invalid hash"):
        load()
    assert not cached.exists()
    capsys.readouterr()


def flip(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 1
    return bytes(changed)


DAMAGES = {
    "cut": lambda content: content[:-100],
    "empty": lambda content: b"",
    "web page": lambda content: b"<!doctype html><html>404</html>",
    "flipped": flip,
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_in_the_cache_is_one_line_that_says_what_to_delete(published, resnet18, damage):
    cached = published(resnet18[1])
    cached.write_bytes(DAMAGES[damage](Path(resnet18[1]).read_bytes()))
    with pytest.raises(ConfigError, match="is damaged: .* hash in its name; delete it") as caught:
        load()
    assert "\n" not in str(caught.value) and str(cached) in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("known", [False, True])
def test_a_pickle_in_the_cache_never_runs(published, resnet18, tmp_path, known):
    marker, hostile = tmp_path / "executed", tmp_path / "hostile.pth"
    torch.save({"fc.weight": Hostile(marker)}, hostile)
    cached = published(hostile if known else resnet18[1])
    cached.write_bytes(hostile.read_bytes())
    reason = "so it was not opened; delete it" if known else "hash in its name; delete it"
    with pytest.raises(ConfigError, match=reason):
        load()
    assert not marker.exists()


@pytest.mark.slow
def test_a_given_file_with_a_published_name_is_held_to_its_hash(published, resnet18, tmp_path):
    given = tmp_path / published(resnet18[1]).name
    given.write_bytes(Path(resnet18[1]).read_bytes())
    assert torch.equal(load(str(given)).fc.weight, resnet18[0].fc.weight)
    given.write_bytes(flip(given.read_bytes()))
    with pytest.raises(ConfigError, match="is damaged: .* hash in its name; delete it and copy it again"):
        load(str(given))
    own = given.rename(tmp_path / "mine-20240101.pth")  # a date, which would be a hash in a published name
    own.write_bytes(Path(resnet18[1]).read_bytes())
    assert torch.equal(load(str(own)).fc.weight, resnet18[0].fc.weight)


@pytest.mark.slow
@pytest.mark.parametrize("content", [[torch.zeros(1)], torch.zeros(1), {1: torch.zeros(1)}])
def test_a_file_without_names_is_one_line(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="holds no weights by name"):
        load(str(tmp_path / "w.pth"))


@pytest.mark.slow
def test_densenets_published_names_are_those_of_its_layers(tmp_path):
    """The published files say norm.1 where the layer is norm1; torchvision's own constructor renames them too."""
    net = torchvision.models.densenet121(weights=None)
    state = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): value
        for name, value in net.state_dict().items()
        if "num_batches_tracked" not in name  # which is younger than the files
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in state
    torch.save(state, tmp_path / "w.pth")
    other = torchvision.models.densenet121(weights=None)
    load_pretrained(other, str(tmp_path / "w.pth"), "densenet121")
    weight = "features.denseblock4.denselayer16.conv2.weight"
    assert torch.equal(other.state_dict()[weight], net.state_dict()[weight])
