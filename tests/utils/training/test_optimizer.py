"""Parameter groups: a partition of what trains."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from base import BaseModel
from models import SegFormer
from tests.parts import TinyNet
from utils.config.sections import OptimizerSection
from utils.errors import ConfigError
from utils.training.optimizer import build_optimizer


class WithBackbone(BaseModel):
    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__(num_classes, in_channels)
        self.backbone = nn.Sequential(nn.Conv2d(in_channels, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.head = nn.Conv2d(4, num_classes, 1)

    def _forward(self, images):
        return self.head(self.backbone(images))


ARGS = {"lr": 0.1, "weight_decay": 0.01}


def build(model: BaseModel, **options) -> torch.optim.Optimizer:
    return build_optimizer(OptimizerSection("SGD", ARGS, **options), model)


@pytest.mark.parametrize("differential_lr", [False, True])
@pytest.mark.parametrize("no_decay_norm_bias", [False, True])
@pytest.mark.parametrize("model", [WithBackbone(3), TinyNet(3)])
def test_groups_partition_the_trainable_parameters(model, differential_lr, no_decay_norm_bias):
    optimizer = build(model, differential_lr=differential_lr, no_decay_norm_bias=no_decay_norm_bias)
    grouped = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert all(group["params"] for group in optimizer.param_groups)


def test_backbone_learns_at_a_fraction():
    head, backbone = build(WithBackbone(3), differential_lr=True, backbone_lr_factor=0.2).param_groups
    assert (head["lr"], backbone["lr"]) == pytest.approx((0.1, 0.02))
    assert len(backbone["params"]) == 4


def test_without_a_backbone_there_is_one_group_and_a_warning(caplog):
    assert len(build(TinyNet(3), differential_lr=True).param_groups) == 1
    assert "TinyNet has no trainable backbone" in caplog.text


class WithLayers(WithBackbone):
    num_layers = 3

    def layer_of(self, name: str) -> int:
        return {"backbone.0": 0, "backbone.1": 1}.get(name.rpartition(".")[0], self.num_layers)


def test_layers_learn_the_slower_the_lower_they_are():
    head, upper, lower = build(WithLayers(3), layer_decay=0.5).param_groups
    assert (head["lr"], upper["lr"], lower["lr"]) == pytest.approx((0.1, 0.1 * 0.5**2, 0.1 * 0.5**3))
    assert [p.shape for p in lower["params"]] == [(4, 3, 3, 3), (4,)]


def test_layer_decay_multiplies_the_backbones_factor_and_splits_weight_decay():
    groups = build(
        WithLayers(3), layer_decay=0.5, differential_lr=True, backbone_lr_factor=0.2, no_decay_norm_bias=True
    ).param_groups
    rates = [(group["lr"], group["weight_decay"]) for group in groups]
    assert rates == [
        (0.1, 0.01),
        (0.1, 0.0),
        (pytest.approx(0.1 * 0.2 * 0.25), 0.0),
        (pytest.approx(0.1 * 0.2 * 0.125), 0.01),
        (pytest.approx(0.1 * 0.2 * 0.125), 0.0),
    ]


def test_the_stages_of_a_pyramid_are_layers_below_the_head():
    model = SegFormer(3, backbone="mit_b0")
    rates = {
        id(p): group["lr"] for group in build(model, layer_decay=0.5).param_groups for p in group["params"]
    }
    for name, layer in (("head.fuse", 4), ("backbone.stages.3.norm", 3), ("backbone.stages.0.patch", 0)):
        assert rates[id(model.get_submodule(name).weight)] == pytest.approx(0.1 * 0.5 ** (4 - layer))


def test_a_decay_of_1_is_one_rate_and_frozen_layers_are_left_out():
    assert {group["lr"] for group in build(WithLayers(3), layer_decay=1.0).param_groups} == {0.1}
    assert len(build(WithLayers(3, freeze_backbone=True), layer_decay=0.5).param_groups) == 1


def test_layer_decay_needs_layers_and_a_rate():
    with pytest.raises(ConfigError, match=r"optimizer.layer_decay: WithBackbone has no layers in order"):
        build(WithBackbone(3), layer_decay=0.9)
    with pytest.raises(ConfigError, match=r"optimizer.args.lr: layer_decay needs"):
        build_optimizer(OptimizerSection("SGD", {}, layer_decay=0.9), WithLayers(3))


def test_no_decay_on_norms_and_biases():
    for group in build(TinyNet(3), no_decay_norm_bias=True).param_groups:
        for parameter in group["params"]:
            assert group["weight_decay"] == (0.01 if parameter.ndim > 1 else 0.0)


def test_frozen_parts_are_left_out():
    groups = build(WithBackbone(3, freeze_backbone=True), differential_lr=True).param_groups
    assert sum(len(group["params"]) for group in groups) == 2
    model = WithBackbone(3)
    model.requires_grad_(False)
    with pytest.raises(ConfigError, match="nothing to train"):
        build(model)


def test_differential_lr_needs_a_rate():
    with pytest.raises(ConfigError, match=r"optimizer.args.lr"):
        build_optimizer(OptimizerSection("SGD", {}, differential_lr=True), WithBackbone(3))


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "Adagrad", "RMSprop"])
@pytest.mark.parametrize("on_gpu", [False, True])
def test_fused_kernels_are_asked_for_on_gpus_that_have_them(name, on_gpu):
    from utils.training import optimizer as optim

    class Parameter:
        is_cuda = on_gpu

    has_kernel = on_gpu and name != "RMSprop"
    assert optim._fused(OptimizerSection(name, {}), Parameter()) == ({"fused": True} if has_kernel else {})
    assert optim._fused(OptimizerSection(name, {"foreach": True}), Parameter()) == {}
    assert not build_optimizer(OptimizerSection(name, {"lr": 0.1}), WithBackbone(3)).defaults.get("fused")
