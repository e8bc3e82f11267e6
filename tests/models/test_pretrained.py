"""Pretrained weights: where they go, and what is said when they are missing."""

from __future__ import annotations

import pytest
import torch
import torchvision

from models import DeepLab, FCN8s, PSPDenseNet, PSPNet, SegNet, UNetResnet
from models.blocks import AverageGrid
from models.fcn import _bilinear
from models.pretrained import adapt_first
from models.resnet import ResNetEncoder
from models.segnet import pool, unpool
from utils.errors import ConfigError


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory):
    torch.manual_seed(0)
    net = torchvision.models.resnet18(weights=None).eval()
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(net.state_dict(), path)
    return net, str(path)


def test_a_file_gives_exactly_torchvisions_features(resnet18):
    net, path = resnet18
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        features = ResNetEncoder("resnet18", pretrained=path).eval()(images)
        expected = net.layer4(
            net.layer3(net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(images)))))))
        )
    assert [f.shape[-2] for f in features] == [32, 16, 8, 4, 2]
    assert torch.equal(features[-1], expected)


@pytest.mark.parametrize("build", [UNetResnet, PSPNet, DeepLab])
def test_models_take_the_file(build, resnet18):
    net, path = resnet18
    model = build(2, backbone="resnet18", pretrained=path)
    assert torch.equal(model.backbone.layer4[1].conv2.weight, net.layer4[1].conv2.weight)


@pytest.mark.parametrize(("stride", "replace"), [(16, [False, False, True]), (8, [False, True, True])])
def test_dilation_is_torchvisions(stride, replace):
    torch.manual_seed(0)
    net = torchvision.models.resnet50(weights=None, replace_stride_with_dilation=replace).eval()
    ours = ResNetEncoder("resnet50", output_stride=stride).eval()
    weights = {k: v for k, v in net.state_dict().items() if k.startswith("layer")}
    ours.load_state_dict({**ours.state_dict(), **weights})
    features = torch.randn(1, 64, 16, 24)
    with torch.inference_mode():
        for layer in ("layer1", "layer2", "layer3", "layer4"):
            theirs = getattr(net, layer)(features)
            features = getattr(ours, layer)(features)
            assert torch.equal(features, theirs)
    assert features.shape[-1] == 24 * 4 // stride


def test_fc6_and_fc7_are_taken_from_vgg(monkeypatch):
    torch.manual_seed(0)
    net = torchvision.models.vgg11(weights=None).eval()
    monkeypatch.setattr("models.vgg.load_pretrained", lambda m, *_: m.load_state_dict(net.state_dict()))
    backbone = FCN8s(2, backbone="vgg11", pretrained=True).backbone.eval()
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        pool5 = net.features(images)
        expected = net.classifier[:5](pool5.flatten(1))
        # the middle of the 7x7 map sees exactly the window that the linear layer saw
        found = backbone(images)[2][0, :, 3, 3]
    assert torch.allclose(found, expected[0], atol=1e-4)


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
    for build in (SegNet, PSPDenseNet, UNetResnet):
        with pytest.raises(ConfigError, match=r"put \S+\.pth into .*checkpoints") as caught:
            build(2)
        assert "\n" not in str(caught.value)


def test_weights_that_nobody_publishes_are_refused():
    with pytest.raises(ValueError, match="torchvision has no Xception"):
        DeepLab(2, backbone="xception")
    with pytest.raises(ValueError, match="deep_stem"):
        PSPNet(2, deep_stem=True)


# ---- parts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (12, 6), (60, 45)])
def test_average_grid_is_adaptive_pooling(bins, size):
    features = torch.randn(2, 3, *size, dtype=torch.float64)
    expected = torch.nn.functional.adaptive_avg_pool2d(features, bins)
    assert torch.allclose(AverageGrid(bins)(features), expected, atol=1e-14)


def test_unpool_is_torchs():
    features = torch.randn(2, 3, 6, 8)
    pooled, place = pool(features)
    expected, index = torch.nn.functional.max_pool2d(features, 2, return_indices=True)
    assert torch.equal(pooled, expected)
    assert torch.equal(unpool(pooled, place), torch.nn.functional.max_unpool2d(expected, index, 2))


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_bilinear_deconvolution_is_interpolation_inside(factor):
    score = torch.randn(1, 3, 5, 6, dtype=torch.float64)
    found = _bilinear(3, factor).double()(score)
    expected = torch.nn.functional.interpolate(
        score, scale_factor=factor, mode="bilinear", align_corners=False
    )
    assert found.shape == expected.shape
    inside = slice(factor, -factor)
    assert torch.allclose(found[..., inside, inside], expected[..., inside, inside], atol=1e-7)
