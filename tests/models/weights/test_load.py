"""Loading of weights into networks: what fits, what is adapted, what is refused."""

from __future__ import annotations

import logging

import pytest
import timm
import torch
from timm.models import adapt_input_conv

from models.backbone import build_backbone
from models.weights.load import adapt_input
from utils.errors import ConfigError


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Files of random weights of small networks of timm, and their state dicts."""
    folder, found = tmp_path_factory.mktemp("weights"), {}
    for name in ("test_convnext", "test_convnext2", "test_efficientnet", "test_mambaout"):
        torch.manual_seed(1)
        state = timm.create_model(name).state_dict()
        torch.save(state, folder / f"{name}.pth")
        found[name] = str(folder / f"{name}.pth"), state
    return found


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_the_first_convolution_is_adapted_as_by_timm(channels):
    weight = torch.randn(8, 3, 3, 3)
    assert torch.equal(adapt_input(weight, channels), adapt_input_conv(channels, weight))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_convnext", "test_efficientnet", "test_mambaout"])
@pytest.mark.parametrize("channels", [3, 5])
def test_features_equal_those_of_timm_with_the_same_file(saved, name, channels, caplog):
    path, _ = saved[name]
    with caplog.at_level(logging.INFO):
        backbone = build_backbone(f"timm/{name}", channels, path).eval()
    oracle = timm.create_model(
        name, features_only=True, in_chans=channels, pretrained=True, pretrained_cfg_overlay={"file": path}
    ).eval()
    images = torch.randn(1, channels, 64, 32)
    with torch.inference_mode():
        found, expected = backbone(images), oracle(images)
    layout = (0, 3, 1, 2) if name == "test_mambaout" else (0, 1, 2, 3)
    assert all(torch.equal(a, b.permute(layout)) for a, b in zip(found, expected, strict=True))
    count = len(backbone.net.state_dict())
    assert f"{count} of {count} tensors of timm/{name}" in caplog.text
    assert ("adapted from 3 to 5 channels" in caplog.text) is (channels == 5)
    assert "; not used: " in caplog.text  # the classifier


@pytest.mark.slow
def test_weights_of_another_network_are_refused_in_one_line(saved):
    for name, other in (("test_convnext", "test_efficientnet"), ("test_efficientnet", "test_convnext")):
        with pytest.raises(
            ConfigError, match=f"the weights are not those of timm/{name}: .*missing"
        ) as caught:
            build_backbone(f"timm/{name}", 3, saved[other][0])
        assert "\n" not in str(caught.value) and saved[other][0] in str(caught.value)


@pytest.mark.slow
def test_a_deeper_network_of_the_same_widths_is_refused(saved, tmp_path):
    _, state = saved["test_convnext"]
    block = {k.replace("blocks.0", "blocks.9"): v for k, v in state.items() if "stages.1.blocks.0" in k}
    torch.save({**state, **block}, tmp_path / "deeper.pth")
    with pytest.raises(ConfigError, match=r"of the file are of no layer \(first: stages.1.blocks.9"):
        build_backbone("timm/test_convnext", 3, str(tmp_path / "deeper.pth"))


@pytest.mark.slow
def test_a_missing_tensor_and_a_nan_are_refused(saved, tmp_path):
    _, state = saved["test_convnext"]
    name = "stages.2.blocks.0.conv_dw.weight"
    torch.save({k: v for k, v in state.items() if k != name}, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=r"1 of its \d+ tensors are missing \(first: stages_2"):
        build_backbone("timm/test_convnext", 3, str(tmp_path / "w.pth"))
    torch.save({**state, name: torch.full_like(state[name], torch.nan)}, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="holds NaN or infinite values"):
        build_backbone("timm/test_convnext", 3, str(tmp_path / "w.pth"))


def test_names_of_a_networks_authors_are_converted_by_timm(saved, tmp_path):
    """ConvNeXt's authors call stages.0.blocks.1.conv_dw stages.0.1.dwconv; timm's own filter is the oracle."""
    _, state = saved["test_convnext"]
    renames = (
        ("stem.", "downsample_layers.0."), (".downsample.", "."), (".blocks.", "."), ("conv_dw", "dwconv"),
        ("mlp.fc1", "pwconv1"), ("mlp.fc2", "pwconv2"), ("head.fc.", "head."), ("head.norm.", "norm."),
    )  # fmt: skip
    authors = {}
    for name, tensor in state.items():
        new = name
        if ".downsample." in name:
            stage = int(name.split(".")[1])
            new = f"downsample_layers.{stage}.{name.partition('.downsample.')[2]}"
        for old, theirs in renames:
            new = new.replace(old, theirs)
        authors[new] = tensor
    torch.save({"model": authors}, tmp_path / "authors.pth")
    backbone = build_backbone("timm/test_convnext", 3, str(tmp_path / "authors.pth"))
    own = backbone.net.state_dict()
    assert torch.equal(own["stages_3.blocks.0.conv_dw.weight"], state["stages.3.blocks.0.conv_dw.weight"])
