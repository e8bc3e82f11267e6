"""SegFormer against transformers' own, and its weights in files of both namings."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
import torch

from models import SegFormer
from models.mit import SIZES
from tests.models.foreign import count
from utils.dataset_info import Normalisation
from utils.errors import ConfigError

transformers = pytest.importorskip("transformers")

CLASSES = 5


def theirs(backbone: str, **options):
    """Build transformers' network of the same size."""
    size = SIZES[backbone]
    config = transformers.SegformerConfig(
        depths=list(size.depths),
        hidden_sizes=list(size.channels),
        decoder_hidden_size=256 if backbone < "mit_b2" else 768,
        **options,
    )
    return transformers.SegformerForSemanticSegmentation(config)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """transformers' network with random weights and the authors' epsilons, and a folder with its weights."""
    torch.manual_seed(0)
    model = theirs("mit_b0", num_labels=CLASSES).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # a fresh network has zero biases, which would hide mistakes
            parameter.add_(0.05 * torch.randn_like(parameter))
        for norm in (m for n, m in model.named_modules() if n.endswith("batch_norm")):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    folder = tmp_path_factory.mktemp("segformer")
    model.save_pretrained(folder)
    for name, norm in model.named_modules():  # the authors' norms in blocks and after stages have another one
        if re.search(r"layernorm_(before|after)|stages\.\d\.layer_norm", name):
            norm.eps = 1e-6
    return model, folder


@pytest.fixture(scope="module")
def authors_state(reference) -> dict[str, torch.Tensor]:
    """The same weights under the authors' names, written out independently of the code under test."""
    from safetensors.torch import load_file

    state = {}
    for key, tensor in load_file(reference[1] / "model.safetensors").items():
        if key.endswith((".self.key.weight", ".self.key.bias")):
            tensor = torch.cat([tensor, load_value(reference[1], key)])
        if ".self.value." not in key:
            state[to_authors(key)] = tensor
    return state


def load_value(folder: Path, key: str) -> torch.Tensor:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as file:
        return file.get_tensor(key.replace("self.key", "self.value"))


def to_authors(key: str) -> str:
    for pattern, name in (
        (r"segformer\.encoder", "backbone"),
        (r"patch_embeddings\.(\d)\.proj", lambda m: f"patch_embed{int(m[1]) + 1}.proj"),
        (r"patch_embeddings\.(\d)\.layer_norm", lambda m: f"patch_embed{int(m[1]) + 1}.norm"),
        (r"block\.(\d)", lambda m: f"block{int(m[1]) + 1}"),
        (r"layer_norm_", "norm"),
        (r"attention\.self\.query", "attn.q"),
        (r"attention\.self\.key", "attn.kv"),
        (r"attention\.self\.sr", "attn.sr"),
        (r"attention\.self\.layer_norm", "attn.norm"),
        (r"attention\.output\.dense", "attn.proj"),
        (r"mlp\.dense", "mlp.fc"),
        (r"layer_norm\.(\d)", lambda m: f"norm{int(m[1]) + 1}"),
        (r"linear_c\.(\d)", lambda m: f"linear_c{int(m[1]) + 1}"),
        (r"linear_fuse\.", "linear_fuse.conv."),
        (r"batch_norm", "linear_fuse.bn"),
        (r"classifier", "linear_pred"),
    ):
        key = re.sub(pattern, name, key)
    return key


@pytest.mark.slow
@pytest.mark.parametrize("backbone", sorted(SIZES))
def test_counts_are_those_of_transformers(backbone):
    with torch.device("meta"):
        model = SegFormer(150, backbone=backbone)
        assert count(model) == count(theirs(backbone, num_labels=150))
    assert f"{count(model):,}" in " ".join((SegFormer.__doc__ or "").split())


@pytest.mark.parametrize("naming", ["transformers", "authors", "authors' encoder"])
def test_a_file_of_either_naming_gives_the_same_logits(tmp_path, reference, authors_state, naming):
    network, folder = reference
    path = folder / "model.safetensors"
    if naming != "transformers":
        path = tmp_path / "weights.pth"
        content = {"state_dict": authors_state, "meta": {"epoch": 1}}
        if naming == "authors' encoder":  # as ImageNet weights come: with a classifier of no use
            content = {k.removeprefix("backbone."): v for k, v in authors_state.items() if "head" not in k}
            content |= {"head.weight": torch.zeros(1000, 256), "head.bias": torch.zeros(1000)}
        torch.save(content, path)
    model = SegFormer(CLASSES, pretrained=str(path)).eval()
    images = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        if naming == "authors' encoder":
            expected = network(images, output_hidden_states=True).hidden_states
            for mine, other in zip(model.backbone(images), expected, strict=True):
                torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)
        else:
            expected = network(images).logits
            torch.testing.assert_close(model.forward_coarse(images).logits, expected, atol=1e-5, rtol=1e-5)


def test_a_head_of_other_classes_is_loaded_but_for_its_last_layer(reference, caplog):
    with caplog.at_level(logging.INFO):
        model = SegFormer(7, pretrained=str(reference[1] / "model.safetensors"))
    assert torch.equal(model.head.fuse.weight, reference[0].decode_head.linear_fuse.weight)
    assert model.normalisation == Normalisation()  # ImageNet's
    total = len(model.head.state_dict())
    assert f"all 176 tensors of mit_b0, and {total - 2} of the {total} of the head" in caplog.text


@pytest.mark.parametrize("channels", [1, 6])
def test_other_channels_see_the_same_brightness(reference, channels):
    path = str(reference[1] / "model.safetensors")
    three, other = (SegFormer(CLASSES, n, pretrained=path).eval() for n in (3, channels))
    grey = torch.randn(1, 1, 32, 32)
    with torch.inference_mode():
        logits = [model(grey.expand(-1, n, -1, -1)).logits for model, n in ((three, 3), (other, channels))]
    torch.testing.assert_close(*logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("backbone.block2.1.attn.q.bias"), "not those of mit_b0: 1 of 176 tensors"),
        (
            lambda state: state.pop("backbone.patch_embed1.proj.weight"),
            "no layer is named as the authors or transformers name the first",
        ),
        (
            lambda state: state.update({"backbone.norm4.bias": torch.zeros(9)}),
            r"first: stages\.3\.norm\.bias",
        ),
    ],
)
def test_other_weights_are_refused_in_one_line(tmp_path, authors_state, change, message):
    state, path = dict(authors_state), tmp_path / "weights.pth"
    change(state)
    torch.save(state, path)
    with pytest.raises(ConfigError, match=message) as caught:
        SegFormer(CLASSES, pretrained=str(path))
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_there_is_nothing_to_download():
    with pytest.raises(ValueError, match="mit_b0 is not downloaded; give the path of a file"):
        SegFormer(CLASSES, pretrained=True)


def test_a_file_of_other_content_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"<html>")
    with pytest.raises(ConfigError, match=r"weights\.safetensors: is a web page"):
        SegFormer(CLASSES, pretrained=str(path))
