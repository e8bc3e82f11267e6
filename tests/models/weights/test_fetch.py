"""Where weights are fetched from, and that they are fetched when a run starts and never later."""

from __future__ import annotations

import socket
import time

import pytest
import timm
import torch

from models import HF, SMP, DeepLab, FCN8s, ViTSeg
from models.trained import model_from_checkpoint
from models.weights.fetch import require_reachable
from tests.checkpoints import make_info
from tests.models.catalogue import VIT
from utils.errors import ConfigError

TINY = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "decoder_hidden_size": 16}
PRETRAINED = [
    ("DeepLab", {"backbone": "resnet18", "pretrained": True}),
    ("DeepLab", {"backbone": "timm/test_convnext", "pretrained": True}),
    ("SMP", {"encoder_name": "resnet18", "encoder_weights": "imagenet"}),
    ("SMP", {"encoder_name": "tu-test_convnext", "encoder_weights": "imagenet"}),
    ("ViTSeg", {**VIT, "pretrained": True}),
    ("EoMT", {**VIT, "pretrained": True, "queries": 4, "query_blocks": 1}),
    ("SegFormer", {"pretrained": "gone.pth"}),
    ("HF", {"model": "segformer", "config": TINY, "weights": "owner/name", "hub": True}),
    ("TV", {"architecture": "lraspp_mobilenet_v3_large", "pretrained": True}),
]


@pytest.fixture
def no_network(monkeypatch):
    """Fail the test on every look at the network."""

    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "args"), PRETRAINED)
def test_no_checkpoint_fetches_anything_when_it_is_opened(kind, args, no_network):
    import models

    off = dict.fromkeys({"encoder_weights", "weights"} & args.keys()) or {"pretrained": False}
    info = make_info(3)
    state = getattr(models, kind)(3, **{**args, **off}).state_dict()
    checkpoint = {"arch": {"type": kind, "args": args}, "dataset": info.to_plain(), "model": state}
    model, _ = model_from_checkpoint(checkpoint)
    assert model.normalisation is None


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """A machine without network whose caches are empty: names take long to be found unknown."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("models.weights.fetch._SECONDS", 0.2)

    def slow(*args, **kwargs):
        time.sleep(3)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", slow)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "parts"),
    [
        (
            lambda: DeepLab(3, backbone="resnet18", pretrained=True),
            ("arch.args.pretrained", "resnet18-f37072fd.pth"),
        ),
        (lambda: DeepLab(3, backbone="timm/test_convnext", pretrained=True), ("arch.args.pretrained", "hub")),
        (lambda: SMP(3, 3, "Unet", "resnet18", "imagenet"), ("encoder_weights", "hub")),
        (
            lambda: SMP(3, 3, "Unet", "timm-efficientnet-b0", "imagenet"),
            ("encoder_weights", "model.safetensors", "hub"),
        ),
        (lambda: HF(3, weights="owner/name", hub=True), ("arch.args.weights", "config.json", "hub")),
        (lambda: SMP(3, 3, "Unet", "tu-test_convnext", "imagenet"), ("arch.args.encoder_weights", "hub")),
    ],
)
def test_without_network_every_kind_ends_within_seconds_in_one_line(build, parts, offline, tmp_path):
    start = time.perf_counter()
    with pytest.raises((ConfigError, ValueError)) as caught:
        build()
    assert time.perf_counter() - start < 5
    text = str(caught.value)
    assert "\n" not in text and str(tmp_path) in text and all(part in text for part in parts)


def test_any_answer_of_a_host_is_one(monkeypatch):
    import urllib.error
    import urllib.request

    def answer(request, timeout):
        raise urllib.error.HTTPError(request.full_url, 403, "Forbidden", None, None)

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    require_reachable("https://example.org/weights.pth")

    def unknown(request, timeout):
        raise urllib.error.URLError("unknown host")

    monkeypatch.setattr(urllib.request, "urlopen", unknown)
    with pytest.raises(OSError, match="unknown host"):
        require_reachable("https://example.org/weights.pth")


@pytest.mark.slow
def test_cached_weights_of_timm_are_taken_without_a_look_at_the_network(monkeypatch, tmp_path, no_network):
    hub = pytest.importorskip("huggingface_hub")
    torch.manual_seed(2)
    state = timm.create_model("test_convnext").state_dict()
    path = tmp_path / "pytorch_model.bin"
    torch.save(state, path)

    def cached(repository, name):
        assert repository.startswith("timm/test_convnext")
        return str(path) if name == path.name else None

    monkeypatch.setattr(hub, "try_to_load_from_cache", cached)
    backbone = DeepLab(3, backbone="timm/test_convnext", pretrained=True).backbone
    assert torch.equal(backbone.net.state_dict()["stem_0.weight"], state["stem.0.weight"])


@pytest.mark.slow
def test_timm_is_not_fetched_unless_asked(no_network):
    assert DeepLab(3, backbone="timm/test_convnext").normalisation is None


@pytest.mark.slow
def test_a_hed_file_of_another_layout_is_one_line(tmp_path, monkeypatch):
    import h5py

    monkeypatch.setattr("models.vgg.HIDDEN", 8)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["block1/layers/conv2d/vars/0"] = torch.zeros(3, 3, 3, 64).numpy()
    with pytest.raises(ConfigError, match="is not HED's VGG16") as caught:
        FCN8s(3, pretrained=str(tmp_path / "other.h5"))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_networks_whose_weights_were_converted_from_jax_load_by_name(monkeypatch, tmp_path, no_network):
    hub = pytest.importorskip("huggingface_hub")
    settings = timm.get_pretrained_cfg("vit_tiny_patch16_224")
    assert (
        settings.custom_load and settings.hf_hub_id
    )  # what timm itself then reads is a state dict on the hub
    torch.manual_seed(2)
    state = timm.create_model("vit_tiny_patch16_224").state_dict()
    torch.save(state, tmp_path / "pytorch_model.bin")
    monkeypatch.setattr(
        hub, "try_to_load_from_cache", lambda _, name: str(tmp_path / name) if name.endswith(".bin") else None
    )
    net = ViTSeg(3, backbone="vit_tiny_patch16_224", pretrained=True).backbone.net
    assert torch.equal(net.blocks[0].attn.qkv.weight, state["blocks.0.attn.qkv.weight"])
