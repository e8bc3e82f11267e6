"""ResNet features against torchvision's own."""

from __future__ import annotations

import pytest
import torch
import torchvision

from models.resnet import ResNetEncoder


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stride", "sides"), [(32, [32, 16, 8, 4, 2]), (16, [32, 16, 8, 4, 4]), (8, [32, 16, 8, 8, 8])]
)
def test_basic_blocks_are_dilated_to_an_output_stride(stride, sides):
    encoder = ResNetEncoder("resnet18", output_stride=stride).eval()
    with torch.inference_mode():
        features = encoder(torch.randn(1, 3, 64, 64))
    assert [f.shape[-1] for f in features] == sides
    assert tuple(f.shape[1] for f in features) == encoder.channels == (64, 64, 128, 256, 512)


@pytest.mark.slow
def test_a_deep_stem_is_three_convolutions_at_stride_two():
    encoder = ResNetEncoder("resnet18", in_channels=4, deep_stem=True).eval()
    stem = [m for m in encoder.stem.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size, c.stride) for c in stem] == [
        (4, 64, (3, 3), (2, 2)), (64, 64, (3, 3), (1, 1)), (64, 128, (3, 3), (1, 1)),
    ]  # fmt: skip
    with torch.inference_mode():
        assert [f.shape[1] for f in encoder(torch.randn(1, 4, 64, 64))] == [128, 64, 128, 256, 512]


def test_what_cannot_be_built_is_refused():
    with pytest.raises(ValueError, match="output_stride 4 is not offered; choose 8, 16 or 32"):
        ResNetEncoder("resnet18", output_stride=4)
    with pytest.raises(ValueError, match="deep_stem: torchvision has no such weights"):
        ResNetEncoder("resnet18", pretrained=True, deep_stem=True)
