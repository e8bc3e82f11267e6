"""Segmentation with plain ViTs: heads, layers, learning rates by depth, export."""

from __future__ import annotations

import pytest
import timm
import torch

from models import ViTSeg
from tests.models.foreign import assert_contract
from utils.config.sections import OptimizerSection
from utils.errors import ConfigError
from utils.training.optimizer import build_optimizer

SMALL = {"embed_dim": 48, "depth": 4, "num_heads": 3}
BACKBONES = ["vit_small_patch14_reg4_dinov2", "timm/vit_small_patch16_dinov3", "eva02_tiny_patch14_224"]


def tiny(num_classes: int = 4, in_channels: int = 3, backbone: str = BACKBONES[0], **arguments) -> ViTSeg:
    torch.manual_seed(0)
    options = {**SMALL, **arguments.pop("options", {})}
    return ViTSeg(num_classes, in_channels, backbone, head_channels=16, options=options, **arguments)


@pytest.mark.slow
@pytest.mark.parametrize(("head", "backbone"), [*zip(["mlp", "linear", "upernet"], BACKBONES, strict=True)])
@pytest.mark.filterwarnings("ignore:`torch.jit.trace", "ignore::torch.jit.TracerWarning")
def test_the_contract_of_models(backbone, head):
    assert_contract(lambda **freezing: tiny(4, 5, backbone, head=head, **freezing))


def test_the_head_gets_normalised_tokens_of_the_chosen_layers():
    model = tiny(layers=[1, 3]).eval()
    images = torch.randn(2, 3, 28, 42)
    with torch.inference_mode():
        maps = model.backbone(images, [1, 3])
        scores = model.head.layers[0](torch.cat(maps, dim=1))
        assert torch.equal(model.forward_coarse(images).logits, scores)
    assert scores.shape == (2, 4, 2, 3) and model.head.layers[0].in_channels == 96
    assert len(tiny(head="mlp").head.layers) == 3


def test_upernet_has_four_scales_of_one_map_or_of_four():
    model = tiny(head="upernet").eval()
    assert model.layers == [0, 1, 2, 3]
    assert tiny(head="upernet", options={"depth": 12}).layers == [2, 5, 8, 11]
    images = torch.randn(1, 3, 28, 42)
    maps = model.backbone(images, model.layers)
    sizes = [tuple(s(m).shape[2:]) for s, m in zip(model.head.scale, maps, strict=True)]
    assert sizes == [(8, 12), (4, 6), (2, 3), (1, 2)]
    assert model.forward_coarse(images).logits.shape == (1, 4, 8, 12)
    assert tiny(head="upernet", layers=[3]).eval()(images).logits.shape == (1, 4, 28, 42)


def test_blocks_after_the_last_layer_are_left_out():
    model = tiny(layers=[1])
    assert model.backbone.depth == 2 and model.num_layers == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": [4]}, r"layers: ascending indices of blocks from 0 to 3 are expected, got \[4\]"),
        ({"layers": [2, 1]}, "layers: ascending"),
        ({"layers": []}, "layers: ascending"),
        ({"layers": [-1]}, "layers: ascending"),
        ({"layers": [1, 2], "head": "upernet"}, "layers: upernet takes 4 of them, or one, got 2"),
    ],
)
def test_layers_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        tiny(**arguments)


def test_learning_rates_fall_with_depth():
    """By BEiT's rule; timm groups alike, but gives the last block the rate of the head."""
    from timm.optim import param_groups_layer_decay

    model = tiny()
    section = OptimizerSection("AdamW", {"lr": 0.1}, layer_decay=0.75)
    groups = build_optimizer(section, model).param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    norm = {id(p) for p in model.backbone.net.norm.parameters()}
    theirs = {
        id(p): 0.1 * group["lr_scale"]
        for group in param_groups_layer_decay(model.backbone.net, layer_decay=0.75)
        for p in group["params"]
    }
    assert theirs.keys() == {id(p) for p in model.backbone.parameters()}
    assert all(rates[key] == pytest.approx(0.75 * rate) for key, rate in theirs.items() if key not in norm)
    assert all(rates[key] == 0.1 for key in norm | {id(p) for p in model.head.parameters()})
    assert [group["lr"] for group in groups] == pytest.approx([0.1 * 0.75**i for i in range(6)])


def test_weights_of_timm_and_their_normalisation_come_from_a_file(tmp_path, monkeypatch, caplog):
    """The first blocks of a deeper network's file, for other channels; pooling and classifier are not used."""
    name = "vit_base_patch16_siglip_224"
    original = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *args, **kwargs: original(*args, **{**SMALL, **kwargs}))
    torch.manual_seed(1)
    network = timm.create_model(name)
    torch.save(network.state_dict(), tmp_path / "siglip.pth")
    with caplog.at_level("INFO"):
        model = tiny(4, 5, name, pretrained=str(tmp_path / "siglip.pth"), options={"depth": 2})
    assert model.normalisation.mean == (0.5,) * 5
    own, theirs = model.backbone.net.state_dict(), network.state_dict()
    differ = [key for key, tensor in own.items() if not torch.equal(tensor, theirs[key])]
    assert differ == ["patch_embed.proj.weight"] and "adapted from 3 to 5 channels" in caplog.text
    with pytest.raises(ConfigError, match=r"siglip.pth: the weights are not those of timm/vit_small"):
        tiny(4, 3, "vit_small_patch16_dinov3", pretrained=str(tmp_path / "siglip.pth"))


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES[1:])
@pytest.mark.filterwarnings("ignore:`torch.jit.trace", "ignore::torch.jit.TracerWarning")
def test_a_trace_takes_images_of_every_size(backbone):
    model = tiny(backbone=backbone, head="upernet").eval()
    with torch.inference_mode():
        traced = torch.jit.trace(model, (torch.randn(2, 3, 75, 109),), check_trace=False)
        for size in ((1, 1), (224, 224), (40, 230)):
            images = torch.randn(1, 3, *size)
            assert torch.allclose(traced(images)[0], model(images).logits, atol=1e-5)
