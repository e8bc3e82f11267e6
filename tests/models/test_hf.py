"""Networks of transformers behind the contract: their own logits, any size, folders, checkpoints without them."""

from __future__ import annotations

import copy
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from models import HF
from models.build import build_untrained, with_resolved_arch
from models.trained import model_from_checkpoint
from tests.checkpoints import make_checkpoint, make_info
from tests.utils.system.test_tensor_file import Hostile
from utils.config.factory import Component
from utils.errors import ConfigError
from utils.losses import CrossEntropyLoss2d
from utils.losses.mask_classification import MaskClassificationLoss
from utils.losses.training import DeepSupervision
from utils.run.checkpoint import load_checkpoint

transformers = pytest.importorskip("transformers")

STAGES = [f"stage{i}" for i in (1, 2, 3, 4)]
SWIN = {
    "model_type": "swin", "image_size": 64, "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 2],
    "window_size": 2, "out_features": STAGES,
}  # fmt: skip
CONVNEXT = {"model_type": "convnext", "depths": [1, 1, 1, 1], "hidden_sizes": [8] * 4, "out_features": STAGES}
PLAIN = {"hidden_size": 16, "num_attention_heads": 2, "image_size": 32}
MASKS = {
    "backbone_config": SWIN, "mask_dim": 64, "hidden_dim": 64, "encoder_feedforward_dim": 16, "encoder_layers": 1,
    "dim_feedforward": 16, "num_attention_heads": 2, "num_queries": 7,
}  # fmt: skip
EOMT = {
    **PLAIN,
    "patch_size": 8,
    "num_hidden_layers": 3,
    "num_blocks": 1,
    "num_queries": 7,
    "num_upscale_blocks": 1,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "segformer": {
        "depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 16, 16], "num_attention_heads": [1, 1, 2, 2],
        "decoder_hidden_size": 16,
    },
    "upernet": {"backbone_config": CONVNEXT, "hidden_size": 16},
    "beit": {
        **PLAIN, "intermediate_size": 16, "patch_size": 4, "num_hidden_layers": 4, "out_indices": [1, 2, 3, 4],
        "use_relative_position_bias": True,
    },
    "dpt": {
        **PLAIN, "intermediate_size": 16, "patch_size": 8, "num_hidden_layers": 4,
        "backbone_out_indices": [0, 1, 2, 3], "neck_hidden_sizes": [8, 8, 16, 16], "fusion_hidden_size": 16,
    },
    "mobilevit": {
        "hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [4, 8, 8, 16, 16, 16, 32], "num_attention_heads": 2,
        "aspp_out_channels": 16, "expand_ratio": 2.0,
    },
    "mobilevitv2": {"width_multiplier": 0.25, "aspp_out_channels": 16},
    "mask2former": {
        **{k: v for k, v in MASKS.items() if k != "mask_dim"}, "feature_size": 64, "mask_feature_size": 64,
        "decoder_layers": 3,
    },
    "oneformer": {**MASKS, "conv_dim": 64, "decoder_layers": 3, "query_dec_layers": 1, "task_seq_len": 5},
    "eomt": {**EOMT, "mlp_ratio": 1},
    "eomt_dinov3": {**EOMT, "intermediate_size": 16},
}  # fmt: skip
UNIVERSAL = ("mask2former", "oneformer", "eomt", "eomt_dinov3")


def build(kind: str, classes: int = 4, channels: int = 3, **arguments: Any) -> HF:
    torch.manual_seed(0)
    return HF(classes, channels, kind, CONFIGS[kind], **arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A SegFormer of 4 classes as transformers saves it, and its image processor."""
    path = tmp_path_factory.mktemp("hf") / "saved"
    torch.manual_seed(1)
    config = transformers.SegformerConfig(**CONFIGS["segformer"], num_labels=4)
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(path)
    processor = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.1], "rescale_factor": 1 / 255}
    (path / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", CONFIGS)
def test_any_size_and_channels_and_the_same_results_alone_and_in_a_batch(kind):
    model = build(kind, channels=5).eval()
    with torch.inference_mode():
        for size in ((1, 1), (33, 47), (64, 32)):
            images = torch.randn(2, 5, *size)
            batch = model(images).logits
            assert batch.shape == (2, 4, *size) and batch.isfinite().all()
            singles = torch.cat([model(image[None]).logits for image in images])
            torch.testing.assert_close(
                batch, singles, atol=1e-5 * max(1, float(singles.abs().max())), rtol=1e-4
            )


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in CONFIGS if kind not in UNIVERSAL])
def test_logits_of_a_semantic_network_are_its_own(kind):
    model = build(kind).eval()
    images = torch.randn(1, 3, 64, 64)
    options = {"interpolate_pos_encoding": True} if kind == "beit" else {}
    with torch.inference_mode():
        expected = model.network(images, **options).logits
        resized = F.interpolate(expected, size=(64, 64), mode="bilinear", align_corners=False)
        torch.testing.assert_close(model(images).logits, resized)


@pytest.mark.slow
@pytest.mark.parametrize("kind", UNIVERSAL)
def test_scores_of_a_universal_network_are_those_of_its_post_processing(kind):
    """transformers sums the products of the probabilities of class and mask too."""
    model = build(kind).eval()
    side = 32 if kind.startswith("eomt") else 64
    images = torch.randn(1, 3, side, side)
    options = {"task_inputs": torch.ones(1, 5)} if kind == "oneformer" else {}
    with torch.inference_mode():
        output = model.network(images, **options)
        found = model.forward_coarse(images).logits.exp()
    classes = output.class_queries_logits.softmax(-1)[0, :, :4]
    expected = torch.tensordot(classes.T, output.masks_queries_logits.sigmoid()[0], dims=1)
    torch.testing.assert_close(found[0], expected.clamp_min(1e-6))


@pytest.mark.slow
@pytest.mark.parametrize("kind", CONFIGS)
def test_training_reaches_the_network(kind):
    model = build(kind).train()
    criterion = model.build_criterion(CrossEntropyLoss2d(), 0.4)
    assert isinstance(criterion, MaskClassificationLoss if kind in UNIVERSAL else DeepSupervision)
    target = torch.zeros(2, 40, 50, dtype=torch.long)
    target[:, 10:30, 5:25] = 1
    target[:, 35:] = 255
    output = model(torch.randn(2, 3, 40, 50))
    if kind in UNIVERSAL:
        assert len(output.extra) >= 4  # earlier layers and the last one
        assert output.extra[-2].shape == (2, 7, 5) and output.extra[-1].shape[:2] == (2, 7)
        assert all(a is not b for a, b in zip(output.extra[:2], output.extra[-2:], strict=True))
    criterion(output, target)["loss"].backward()
    trained = [name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()]
    assert len(trained) > 0.8 * len(list(model.parameters()))
    assert not model.eval()(torch.randn(1, 3, 32, 32)).extra


def test_the_backbone_freezes_and_groups_partition():
    model = build("segformer")
    assert model.get_backbone_params() and model.get_decoder_params()
    frozen = build("segformer", freeze_backbone=True, freeze_bn=True).train()
    assert frozen.get_backbone_params() == [] and not frozen.backbone.training
    with pytest.raises(ValueError, match="HF has no backbone to freeze"):
        build("eomt", freeze_backbone=True)


def test_a_folder_brings_weights_configuration_and_normalisation(folder):
    model = HF(4, 3, "segformer", weights=str(folder)).eval()
    reference = transformers.SegformerForSemanticSegmentation.from_pretrained(folder).eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(model.forward_coarse(images).logits, reference(images).logits)
    assert model.normalisation.mean == pytest.approx((0.5, 0.4, 0.3))
    assert model.normalisation.std == pytest.approx((0.2, 0.2, 0.1))


def test_other_classes_and_channels_keep_the_rest(folder, caplog):
    caplog.set_level("INFO")
    three, one = (HF(6, n, "segformer", weights=str(folder)).eval() for n in (3, 1))
    assert "drawn at random: decode_head.classifier" in caplog.text
    assert one(torch.randn(1, 1, 40, 40)).logits.shape == (1, 6, 40, 40)
    grey = torch.randn(1, 1, 32, 32)
    with torch.inference_mode():
        features = [model.backbone(images).last_hidden_state for model, images in (
            (three, grey.expand(-1, 3, -1, -1)), (one, grey),
        )]  # fmt: skip
    torch.testing.assert_close(*features, atol=1e-4, rtol=1e-4)


def test_a_processor_that_swaps_red_and_blue_swaps_the_weights(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "bgr")
    processor = {"do_flip_channel_order": True, "do_rescale": True, "rescale_factor": 1 / 127.5}
    (tmp_path / "bgr" / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    rgb, bgr = (HF(4, 3, "segformer", weights=str(path)).eval() for path in (folder, tmp_path / "bgr"))
    images = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(bgr(images.flip(1)).logits, rgb(images).logits)
    assert (bgr.normalisation.mean, bgr.normalisation.std) == ((0.0,) * 3, (0.5,) * 3)


def test_a_checkpoint_opens_and_a_run_continues_without_the_folder(folder, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    experiment = experiment_with({"model": "segformer", "weights": str(moved)})
    arch = with_resolved_arch(experiment).plain["arch"]
    assert arch["args"]["config"]["decoder_hidden_size"] == 16
    assert "id2label" not in arch["args"]["config"]
    path = make_checkpoint(tmp_path / "best.pth", make_info(), arch=arch)
    shutil.rmtree(moved)
    model, _ = model_from_checkpoint(load_checkpoint(path))
    assert model(torch.randn(1, 3, 20, 30)).logits.shape == (1, 4, 20, 30)
    again = with_resolved_arch(experiment_with(arch["args"]))
    assert again.plain["arch"] == arch
    assert isinstance(build_untrained(again.arch, make_info()), HF)


def experiment_with(arguments: dict[str, Any]) -> Any:
    """A checked config of this model."""
    from tests.conftest import ROOT
    from tests.experiments import experiment_of
    from utils.config.file import load_config

    config = load_config(ROOT / "config.json")
    config["arch"] = {"type": "HF", "args": copy.deepcopy(arguments)}
    return experiment_of(config)


def test_a_universal_network_refuses_a_loss_of_the_config():
    from tests.conftest import ROOT
    from tests.experiments import problems_of
    from utils.config.file import load_config

    config = load_config(ROOT / "config.json")
    config["arch"] = {"type": "HF", "args": {"model": "mask2former"}}
    assert any("brings its own training loss" in problem for problem in problems_of(config))
    config["arch"]["args"]["model"] = "segformer"
    assert problems_of(config) == []
    with pytest.raises(ConfigError, match="no single logit"):
        model = build("eomt", classes=1)
        model.one_logit = True
        model.build_criterion(CrossEntropyLoss2d(), 0.4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"config": {"hidden_sise": [8]}},
            "config: .*'hidden_sise' is no argument of it; did you mean 'hidden_si",
        ),
        ({"config": {"depths": "many"}}, "config: segformer refuses it"),
        ({"weights": "nowhere"}, r"weights: nowhere: no such folder; \"hub\": true"),
        ({"weights": "nowhere", "hub": True}, "nowhere cannot be downloaded .*give a folder"),
    ],
)
def test_mistakes_are_one_line(arguments, message, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises((ValueError, ConfigError), match=message) as caught:
        HF(4, 3, "segformer", **arguments)
    assert "\n" not in str(caught.value)


def test_other_and_damaged_folders_are_refused_in_one_line(folder, tmp_path):
    def message(change, kind: str = "segformer") -> str:
        broken = tmp_path / "broken"
        shutil.rmtree(broken, ignore_errors=True)
        shutil.copytree(folder, broken)
        change(broken)
        with pytest.raises(ConfigError) as caught:
            HF(4, 3, kind, weights=str(broken))
        assert "\n" not in str(caught.value) and str(broken) in str(caught.value)
        return str(caught.value)

    def half(path: Path) -> None:
        file = path / "model.safetensors"
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    def other(path: Path) -> None:
        from safetensors.torch import save_file

        save_file({"x": torch.zeros(1)}, path / "model.safetensors", {"format": "pt"})

    assert "kind 'segformer'; arch.args.model is 'dpt'" in message(lambda path: None, "dpt")
    assert "config.json: cannot be read" in message(lambda path: (path / "config.json").unlink())
    assert "config.json: cannot be read" in message(lambda path: (path / "config.json").write_text("{"))
    assert "cannot be read as weights" in message(lambda path: (path / "model.safetensors").unlink())
    assert "cannot be read as weights" in message(half)
    assert "the weights are of another network" in message(other)

    def hostile(path: Path) -> None:
        (path / "model.safetensors").unlink()
        torch.save({"x": Hostile(tmp_path / "executed")}, path / "pytorch_model.bin")

    refused = message(hostile)
    assert "holds more than tensors" in refused and "weights_only" not in refused
    assert not (tmp_path / "executed").exists()
    two = '{"image_mean": [0.5, 0.5], "image_std": [0.1, 0.1]}'
    assert "image_mean: 3 numbers" in message(
        lambda path: (path / "preprocessor_config.json").write_text(two)
    )


def test_a_missing_or_old_package_names_the_remedy(monkeypatch):
    monkeypatch.setattr("transformers.__version__", "4.40.0")
    with pytest.raises(ValueError, match=r"needs transformers 5 or later.*requirements/transformers\.txt"):
        build("segformer")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        ValueError, match=r"needs transformers: pip install -r requirements/transformers\.txt"
    ):
        build("segformer")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["segformer", "mask2former"])
@pytest.mark.filterwarnings("ignore:`torch.jit.trace", "ignore::torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`")  # read by torch.jit
def test_it_traces(kind):
    model = build(kind).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        traced = torch.jit.trace(model, (images,), check_trace=False)
        torch.testing.assert_close(traced(images * 2)[0], model(images * 2).logits)


def test_the_component_of_a_checkpoint_never_reads_a_folder():
    arch = Component(
        "HF", {"model": "segformer", "config": CONFIGS["segformer"], "weights": "gone", "hub": True}
    )
    assert isinstance(build_untrained(arch, make_info()), HF)
