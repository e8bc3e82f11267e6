"""Plain ViTs of timm as backbones, against timm's own forward pass."""

from __future__ import annotations

import pytest
import timm
import torch

from models.vit import ViT
from models.vit_positions import add_positions
from utils.errors import ExportError

SMALL = {"embed_dim": 48, "depth": 3, "num_heads": 3}
NETWORKS = {
    "vit_tiny_patch16_224": 1,
    "timm/vit_small_patch14_reg4_dinov2": 5,
    "vit_small_patch16_dinov3": 5,
    "vit_base_patch16_224.mae": 1,
    "vit_base_patch16_siglip_224": 0,
    "eva02_tiny_patch14_224": 1,
    "vit_base_patch8_224.dino": 1,
    "vit_base_patch16_rope_mixed_224": 1,
}


def tiny(name: str, in_channels: int = 3, **options) -> ViT:
    torch.manual_seed(0)
    return ViT(name, in_channels, options={**SMALL, **options}).eval()


@pytest.fixture(scope="module")
def networks() -> dict[str, ViT]:
    """Networks whose positions and blocks matter: in fresh ones they are near zero."""
    made = {name: tiny(name) for name in NETWORKS}
    with torch.no_grad():
        for vit in made.values():
            for key, parameter in vit.named_parameters():
                if "pos_embed" in key or "gamma" in key:
                    parameter.normal_()
                if "qkv.weight" in key or "q_proj.weight" in key:
                    parameter.mul_(20)
    return made


@pytest.mark.parametrize("grid", [(1, 1), (2, 5), (14, 14)])
@pytest.mark.parametrize("name", NETWORKS)
def test_maps_are_those_of_timms_own_forward_pass(networks, name, grid):
    vit = networks[name]
    images = torch.randn(2, 3, grid[0] * vit.patch, grid[1] * vit.patch)
    with torch.inference_mode():
        maps = vit(images, [0, 2])
        theirs = vit.net.forward_intermediates(images, indices=[0, 2], norm=True, intermediates_only=True)
        # EVA02 has its last norm after pooling, where timm's method does not apply it
        expected = [vit.net.fc_norm(m.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) for m in theirs]
    assert vit.prefix == NETWORKS[name] and vit.dim == 48 and vit.depth == 3
    assert [m.shape for m in maps] == [(2, 48, *grid)] * 2
    assert all(torch.allclose(ours, other, atol=1e-5) for ours, other in zip(maps, expected, strict=True))


def test_the_position_of_a_patch_matters(networks):
    for name, vit in networks.items():
        flat = torch.randn(1, 3, 2, 2).repeat_interleave(vit.patch, 2).repeat_interleave(vit.patch, 3)
        with torch.inference_mode():
            first, turned = vit(flat, [2])[0], vit(flat.flip(2, 3), [2])[0].flip(2, 3)
        assert not torch.allclose(first, turned, atol=1e-3), name


@pytest.mark.parametrize("grid", [(1, 1), (3, 5), (14, 14)])
def test_positions_that_a_program_can_repeat_are_timms(networks, grid):
    for name, vit in networks.items():
        patches = torch.randn(2, *grid, 48)
        if "mixed" in name:
            with pytest.raises(ExportError, match="RotaryEmbeddingMixed cannot be recorded"):
                add_positions(vit.net, patches)
            continue
        with torch.inference_mode():
            tokens, rotations = add_positions(vit.net, patches)
            expected = vit.net._pos_embed(patches)
        expected = expected if isinstance(expected, tuple) else (expected, None)
        assert torch.allclose(tokens, expected[0], atol=1e-5)
        assert (rotations is None) == (expected[1] is None)
        assert rotations is None or torch.allclose(rotations, expected[1], atol=1e-5)


def test_layers_and_blocks_kept():
    vit = tiny("vit_small_patch14_reg4_dinov2")
    names = dict(vit.named_parameters())
    depths = {name: vit.layer_of(name) for name in names}
    assert depths["net.pos_embed"] == depths["net.cls_token"] == depths["net.patch_embed.proj.weight"] == 0
    assert depths["net.blocks.0.attn.qkv.weight"] == 1 and depths["net.blocks.2.mlp.fc1.bias"] == 3
    assert depths["net.norm.weight"] == 4 and set(depths.values()) == {0, 1, 2, 3, 4}
    images = torch.randn(1, 3, 28, 28)
    with torch.inference_mode():
        before = vit(images, [1])[0]
        vit.keep(2)
        assert vit.depth == 2 and torch.equal(vit(images, [1])[0], before)


def test_any_number_of_channels():
    assert tiny("vit_tiny_patch16_224", in_channels=5)(torch.randn(1, 5, 32, 16), [0])[0].shape == (
        1,
        48,
        2,
        1,
    )


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "vit_smal_patch16_dinov3",
            {},
            "has no network 'vit_smal_patch16_dinov3'; did you mean 'vit_small_patch16",
        ),
        ("beitv2_base_patch16_224", {}, "beitv2_base_patch16_224 is no plain ViT"),
        ("resnet18", {}, "resnet18 is no plain ViT"),
        ("vit_tiny_r_s16_p8_224", {}, "is no plain ViT"),
        ("vit_tiny_patch16_224", {"dept": 3}, "options: vit_tiny_patch16_224 does not take dept"),
        ("vit_tiny_patch16_224", {"embed_dim": 50}, "options: vit_tiny_patch16_224 does not take embed_dim"),
        ("vit_tiny_patch16_224", {"num_classes": 3}, "options: num_classes follows from other arguments"),
        ("vit_tiny_patch16_224", {"patch_drop_rate": 0.5}, "options: patch_drop_rate"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_line(name, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        ViT(name, options=options)
    assert "\n" not in str(caught.value)


def test_timm_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(ValueError, match=r"needs timm: pip install -r requirements/timm.txt"):
        ViT("vit_tiny_patch16_224")


def test_timm_is_recent_enough():
    assert tuple(map(int, timm.__version__.split(".")[:2])) >= (1, 0)
