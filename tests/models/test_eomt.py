"""EoMT against transformers, its attention masks, and what it learns."""

from __future__ import annotations

import copy

import pytest
import torch

from models import EoMT
from tests.models.foreign import assert_contract
from tests.parts import make_trainer
from tests.test_trainer import StopsAt, lines, same, weights
from utils.config.sections import OptimizerSection
from utils.errors import ConfigError, Interrupted
from utils.losses import CrossEntropyLoss2d
from utils.run.checkpoint import load_checkpoint
from utils.training.optimizer import build_optimizer

SMALL = {"embed_dim": 32, "depth": 3, "num_heads": 2}


def tiny(num_classes: int = 4, in_channels: int = 3, **arguments) -> EoMT:
    torch.manual_seed(0)
    options = {**SMALL, **arguments.pop("options", {})}
    return EoMT(
        num_classes, in_channels, **{"queries": 6, "query_blocks": 2, "options": options, **arguments}
    )


@pytest.fixture(scope="module")
def twins():
    """transformers' model and ours with the same weights, in evaluation mode."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.EomtConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, mlp_ratio=4, image_size=28, patch_size=14,
        num_register_tokens=4, num_blocks=2, num_queries=6, num_upscale_blocks=1, hidden_act="gelu",
        layerscale_value=1.0, num_labels=4, attention_dropout=0.0,
    )  # fmt: skip
    theirs = transformers.EomtForUniversalSegmentation(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    theirs.attn_mask_probs.zero_()
    ours = tiny(options={"img_size": 28, "init_values": 1.0}).eval()
    ours.load_state_dict(_renamed(theirs.state_dict()))
    return theirs, ours


def _renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    state = dict(state)
    renamed = {
        "backbone.net.cls_token": state["embeddings.cls_token"],
        "backbone.net.reg_token": state["embeddings.register_tokens"],
        "backbone.net.pos_embed": state["embeddings.position_embeddings.weight"][None],
        "queries": state["query.weight"],
    }
    for kind in ("weight", "bias"):
        patches = state[f"embeddings.patch_embeddings.projection.{kind}"]
        renamed[f"backbone.net.patch_embed.proj.{kind}"] = patches
        renamed[f"backbone.net.norm.{kind}"] = state[f"layernorm.{kind}"]
        renamed[f"class_head.{kind}"] = state[f"class_predictor.{kind}"]
        renamed[f"upscale.0.up.{kind}"] = state[f"upscale_block.block.0.conv1.{kind}"]
        renamed[f"upscale.0.norm.{kind}"] = state[f"upscale_block.block.0.layernorm2d.{kind}"]
        for number in range(3):
            renamed[f"mask_head.{2 * number}.{kind}"] = state[f"mask_head.fc{number + 1}.{kind}"]
            block, layer = f"backbone.net.blocks.{number}", f"layers.{number}"
            rows = [state[f"{layer}.attention.{part}_proj.{kind}"] for part in "qkv"]
            renamed[f"{block}.attn.qkv.{kind}"] = torch.cat(rows)
            renamed[f"{block}.attn.proj.{kind}"] = state[f"{layer}.attention.out_proj.{kind}"]
            for part in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                renamed[f"{block}.{part}.{kind}"] = state[f"{layer}.{part}.{kind}"]
    renamed["upscale.0.mix.weight"] = state["upscale_block.block.0.conv2.weight"]
    for number in range(3):
        for part in (1, 2):
            scale = state[f"layers.{number}.layer_scale{part}.lambda1"]
            renamed[f"backbone.net.blocks.{number}.ls{part}.gamma"] = scale
    return renamed


def test_classes_and_masks_are_those_of_transformers(twins):
    theirs, ours = twins
    images = torch.randn(2, 3, 28, 28)
    with torch.inference_mode():
        expected = theirs(images)
        output = ours.forward_coarse(images)
    assert torch.allclose(output.extra[0], expected.class_queries_logits, atol=1e-4)
    assert torch.allclose(output.extra[1], expected.masks_queries_logits, atol=1e-4)
    shares = expected.class_queries_logits.softmax(-1)[..., :-1]
    scores = torch.einsum("bqc,bqhw->bchw", shares, expected.masks_queries_logits.sigmoid())
    assert torch.allclose(output.logits.exp(), scores, atol=1e-4)
    assert torch.equal(output.logits.argmax(1), scores.argmax(1))


def test_masked_attention_is_that_of_transformers(twins):
    """Every query is restricted; all predictions are those of transformers in training mode."""
    theirs, ours = (copy.deepcopy(model).train() for model in twins)
    theirs.attn_mask_probs.fill_(1)
    images = torch.randn(2, 3, 28, 28)
    expected = []
    original = theirs.predict
    theirs.predict = lambda hidden: expected.append(original(hidden)) or expected[-1]
    with torch.no_grad():
        theirs(images)
        ours.set_progress(0.0)
        output = ours(images)
        ours.set_progress(1.0)
        free = ours(images)
    assert len(output.extra) == 6 and len(expected) == 3
    for number, (masks, labels) in enumerate(expected):
        assert torch.allclose(output.extra[2 * number], labels, atol=1e-4)
        assert torch.allclose(output.extra[2 * number + 1], masks, atol=1e-4)
    assert not torch.allclose(free.extra[4], output.extra[4], atol=1e-3)
    with torch.inference_mode():
        assert torch.allclose(free.extra[4], ours.eval().forward_coarse(images).extra[0], atol=1e-4)


def test_restrictions_are_annealed_block_after_block():
    model = tiny()
    expected = {
        0.0: [1, 1],
        0.25: [1, 1],
        0.375: [0.5**0.9, 1],
        0.5: [0, 1],
        0.625: [0, 0.5**0.9],
        1.0: [0, 0],
    }
    for share, restricted in expected.items():
        model.set_progress(share)
        assert model.restricted.tolist() == pytest.approx(restricted)
    assert "restricted" not in model.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3"])
@pytest.mark.filterwarnings("ignore:`torch.jit.trace", "ignore::torch.jit.TracerWarning")
def test_the_contract_of_models(backbone):
    assert_contract(lambda **freezing: tiny(4, 5, backbone=backbone, **freezing))


def test_queries_have_no_rotary_position():
    """The order of the queries does not matter."""
    model = tiny(backbone="timm/vit_small_patch16_dinov3").eval()
    with torch.no_grad():
        for name, parameter in model.backbone.named_parameters():
            if "gamma" in name:
                parameter.fill_(1)
    images = torch.randn(1, 3, 32, 48)
    with torch.inference_mode():
        before = model(images).logits
        model.queries.copy_(model.queries.flip(0))
        assert torch.allclose(model(images).logits, before, atol=1e-5)


def test_layers_for_the_decay_of_learning_rates():
    groups = build_optimizer(OptimizerSection("AdamW", {"lr": 1.0}, layer_decay=0.5), tiny()).param_groups
    assert [group["lr"] for group in groups] == [0.5**i for i in range(5)]


def test_mistakes_in_one_line():
    with pytest.raises(ValueError, match="query_blocks: 4, and vit_small_patch14_reg4_dinov2 has 3 blocks"):
        tiny(query_blocks=4)
    model = tiny(num_classes=1)
    model.one_logit = True
    with pytest.raises(ConfigError, match=r"arch.args.num_classes: EoMT has no single logit"):
        model.build_criterion(CrossEntropyLoss2d(), 0.4)


def drawn_shapes(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of a bright square and a dark one on noise, and their classes 1 and 2; a row of void."""
    draw = torch.Generator().manual_seed(3)
    images = 0.2 * torch.randn(count, 3, 42, 42, generator=draw)
    target = torch.zeros(count, 42, 42, dtype=torch.int64)
    for number in range(count):
        for label, value in ((1, 2.0), (2, -2.0)):
            top, left = torch.randint(0, 27, (2,), generator=draw).tolist()
            images[number, :, top : top + 15, left : left + 15] = value
            target[number, top : top + 15, left : left + 15] = label
    target[:, 0] = 255
    return images, target


@pytest.mark.slow
def test_forty_steps_on_drawn_shapes_lower_the_loss():
    model = tiny(3, options={"init_values": 1.0}).train()
    criterion = model.build_criterion(CrossEntropyLoss2d(), 0.4)
    images, target = drawn_shapes(4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for step in range(40):
        model.set_progress(step / 40)
        loss = criterion(model(images), target)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])
    with torch.inference_mode():
        prediction = model.eval()(images).logits.argmax(1)
    valid = target != 255
    assert (prediction == target)[valid].float().mean() > (target == 0)[valid].float().mean() + 0.02


@pytest.mark.slow
def test_the_trainer_trains_and_validates_it(tmp_path):
    trainer = make_trainer(tmp_path / "run", model=tiny(3), epochs=1, lr=0.001, accumulate_steps=2)
    trainer.train()
    figures = trainer.state_dict()["metrics"]
    assert 0 < figures["loss"] < 5 and 0 <= figures["Mean_IoU"] <= 1
    assert trainer.model.restricted[0] < 1


@pytest.mark.slow
def test_a_resumed_run_is_equal_to_the_bit(tmp_path):
    """Points and restricted queries are drawn, and the annealing follows the run."""
    options = {"epochs": 2, "lr": 0.001, "accumulate_steps": 2}
    unbroken = make_trainer(tmp_path / "unbroken", model=tiny(3, points=50), **options)
    unbroken.train()
    stopped = make_trainer(tmp_path / "stopped", model=tiny(3, points=50), cls=StopsAt, **options)
    stopped.stop_step = 5
    with pytest.raises(Interrupted):
        stopped.train()
    resumed = make_trainer(stopped.run.path, model=tiny(3, points=50), seed=9, **options)
    resumed.load_state_dict(load_checkpoint(resumed.run.last))
    resumed.train()
    assert same(weights(resumed), weights(unbroken))
    assert lines(resumed) == lines(unbroken)
