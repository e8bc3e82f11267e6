"""Output strides of DeepLab."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models import DeepLab
from tests.models.catalogue import smallest


@pytest.mark.slow
@pytest.mark.parametrize(("output_stride", "rates"), [(16, [1, 6, 12, 18]), (8, [1, 12, 24, 36])])
def test_the_pyramid_dilates_by_the_papers_rates(output_stride, rates):
    model = smallest("DeepLab", output_stride=output_stride).eval()
    assert model.stride == output_stride
    assert [branch[0].dilation[0] for branch in model.pyramid.branches] == rates
    with torch.inference_mode():
        assert model.backbone(torch.randn(1, 3, 64, 64))[-1].shape[-1] == 64 // output_stride
        assert model.forward_coarse(torch.randn(1, 3, 64, 64)).logits.shape == (1, 5, 16, 16)


@pytest.mark.slow
@pytest.mark.parametrize(("output_stride", "rates"), [(16, [2, 4, 8]), (8, [4, 8, 16])])
def test_multi_grid_multiplies_the_dilation_of_the_last_stage(output_stride, rates):
    model = DeepLab(
        2, backbone="resnet50", pretrained=False, output_stride=output_stride, multi_grid=[1, 2, 4]
    )
    assert [block.conv2.dilation[0] for block in model.backbone.layer4] == rates
    with torch.inference_mode():
        assert model.eval().backbone(torch.randn(1, 3, 64, 64))[-1].shape[-1] == 64 // output_stride


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "resnet18", "multi_grid": [1, 2, 4]}, "has 3 numbers, but the last stage has 2 blocks"),
        ({"backbone": "xception", "multi_grid": [1, 2, 4]}, "multi_grid: dilates the last stage of a ResNet"),
    ],
)
def test_a_grid_that_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message), torch.device("meta"):
        DeepLab(2, pretrained=False, **arguments)


@pytest.mark.slow
def test_separable_convolutions_are_those_of_the_paper():
    model = smallest("DeepLab", separable=True)
    dense = [
        m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) and m.groups == 1
    ]
    assert all(any(m is n for n in model.backbone.modules()) for m in dense)
    for block in [*model.pyramid.branches[1:], *model.head[:2]]:
        depthwise, _, relu, pointwise, _, _ = block
        assert depthwise.groups == depthwise.in_channels and isinstance(relu, nn.ReLU)
        assert pointwise.kernel_size == (1, 1)
    assert [branch[0].dilation[0] for branch in model.pyramid.branches] == [1, 6, 12, 18]
    with torch.inference_mode():
        assert model.eval()(torch.randn(1, 3, 33, 40)).logits.shape == (1, 5, 33, 40)


def test_a_checkpoint_of_version_1_has_the_linear_xception():
    of_version = DeepLab.arguments_of_version
    assert of_version(1, {"backbone": "xception"}) == {"backbone": "xception_linear"}
    assert of_version(1, {"backbone": "resnet18"}) == {"backbone": "resnet18"}
