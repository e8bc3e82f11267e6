"""The data set, model, loss and augmentation of docs/architecture.md work, by themselves and in one run."""

from __future__ import annotations

import importlib
import json
import math
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import evaluate
import inference
import train
from tests.docs.pages import fences
from utils.losses import CrossEntropyLoss2d

PAGE = "docs/architecture.md"


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The page's Python blocks as modules, in a folder with data for them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        (tmp_path / "data" / split).mkdir(parents=True)
        for number in range(8):
            stem = tmp_path / "data" / split / str(number)
            Image.fromarray(np.full((20, 30, 3), 30 * number, np.uint8)).save(f"{stem}.jpg")
            Image.fromarray(rng.integers(0, 3, (20, 30), dtype=np.uint8)).save(f"{stem}.png")
    blocks = {re.match(r"# (\w+)\.py\n", block)[1]: block for block in fences(PAGE, "python")}
    for name, block in blocks.items():
        (tmp_path / f"{name}.py").write_text(block, encoding="utf-8")
        monkeypatch.delitem(sys.modules, name, raising=False)
    found = {name: importlib.import_module(name) for name in blocks}
    yield found
    for name in blocks:
        sys.modules.pop(name, None)


def section(class_name: str) -> dict[str, Any]:
    """The JSON block that names a class, as a part of a config."""
    parts = [block for block in fences(PAGE, "json") if not block.lstrip().startswith("{")]
    (block,) = [block for block in parts if class_name in block]
    return json.loads("{" + block + "}")


def loader_of(module: ModuleType, class_name: str, **options: Any) -> Any:
    return getattr(module, class_name)(
        data_dir="data", split="train", batch_size=8, shuffle=False, flip=False, **options
    )


def test_the_data_set_delivers_its_files(modules):
    spec = section("my_data.Leaves")["train_loader"]
    loader = getattr(modules["my_data"], spec["type"].split(".")[1])(**spec["args"], crop_size=16)
    (batch,) = loader
    assert batch.images.shape == (8, 16, 16, 3) and set(batch.target.unique().tolist()) <= {0, 1, 2, 255}
    assert loader.info.classes == ("background", "leaf", "stem")


def test_the_model_gives_logits_of_the_images_size(modules):
    model = modules["my_models"].TwoLayers(num_classes=5, width=4, freeze_bn=True)
    assert model(torch.zeros(1, 3, 7, 9)).logits.shape == (1, 5, 7, 9)


def test_the_loss_is_the_formula_of_its_docstring(modules):
    logits = torch.tensor([[0.0, 2.0, 5.0], [1.0, 0.0, -5.0]]).reshape(1, 2, 1, 3).requires_grad_()
    target = torch.tensor([[[1, 0, 255]]])
    probabilities = [1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-2))]
    expected = sum(-math.log(p) + 2 * (1 - p) for p in probabilities) / 2
    loss = modules["my_losses"].PolyLoss(epsilon=2.0)(logits, target)
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert logits.grad[..., 2].abs().max() == 0 < logits.grad[..., :2].abs().min()


def test_the_boundary_head_trains_beside_the_loss_of_the_config(modules):
    module = modules["my_boundary"]
    torch.manual_seed(0)
    model = module.WithBoundary(3).train()
    criterion = model.build_criterion(CrossEntropyLoss2d(), 0.4)
    images = torch.randn(2, 3, 7, 9)
    target = torch.randint(0, 3, (2, 7, 9))
    target[0, :, 4:] = 255
    output = model(images)
    losses = criterion(output, target)
    score = output.extra[0][:, 0, :7, :9]
    pairs = [
        (score[n, y, x].item(), bool(target[n, y, x] != target[n, y, x + 1]))
        for n in range(2)
        for y in range(7)
        for x in range(8)
        if n or x < 3
    ]
    expected = sum(math.log1p(math.exp(s)) - s * edge for s, edge in pairs) / len(pairs)
    main = torch.nn.functional.cross_entropy(output.logits, target, ignore_index=255)
    assert losses["loss_boundary"].item() == pytest.approx(expected, rel=1e-5)
    assert losses["loss"].item() == pytest.approx(expected + main.item(), rel=1e-5)
    assert criterion.normalizer(target).tolist() == [7 * 9 + 7 * 4, len(pairs)]


def test_the_augmentation_is_noise_that_workers_do_not_change(modules):
    plain = next(iter(loader_of(modules["my_data"], "Leaves"))).images.float()
    noisy = [
        next(
            iter(loader_of(modules["my_augmentation"], "NoisyLeaves", noise=4, num_workers=workers))
        ).images.float()
        for workers in (0, 2)
    ]
    assert torch.equal(*noisy)
    inside = (plain > 30) & (plain < 225)  # where no noise is clipped
    assert (noisy[0] - plain)[inside].std().item() == pytest.approx(4, rel=0.1)
    unchanged = loader_of(modules["my_augmentation"], "NoisyLeaves")
    assert torch.equal(next(iter(unchanged)).images.float(), plain)


def test_all_four_train_together_from_a_config(modules, tmp_path, capsys):
    data = {"data_dir": "data", "batch_size": 8}
    config = {
        "name": "Leaves",
        **section("my_models.TwoLayers"),
        **section("my_augmentation.NoisyLeaves"),
        "val_loader": {"type": "my_data.Leaves", "args": {**data, "split": "val", "val": True}},
        **section("my_losses.PolyLoss"),
        "optimizer": {"type": "SGD", "args": {"lr": 0.1}},
        "tune_allocator": False,
        "trainer": {"epochs": 1, "tensorboard": False},
    }  # fmt: skip
    (tmp_path / "mine.json").write_text(json.dumps(config), encoding="utf-8")
    assert train.main(["--config", "mine.json", "--device", "cpu"]) == 0
    assert len(list(tmp_path.glob("saved/Leaves/*/best_model.pth"))) == 1
    capsys.readouterr()
    assert train.main(["--config", "mine.json", "--set", "train_loader.args.nois=3"]) == 2
    assert "did you mean 'noise'?" in capsys.readouterr().err


def test_the_whole_config_of_the_page_and_of_the_readme_trains_predicts_and_evaluates(
    modules, tmp_path, capsys
):
    (whole,) = [block for block in fences(PAGE, "json") if block.lstrip().startswith("{")]
    assert whole in fences("README.md", "json")
    (tmp_path / "leaves.json").write_text(whole, encoding="utf-8")
    settings = [
        "--set",
        "trainer.epochs=1",
        "--set",
        "trainer.tensorboard=false",
        "--set",
        "tune_allocator=false",
    ]
    assert train.main(["--config", "leaves.json", "--device", "cpu", "--check", *settings]) == 0
    assert train.main(["--config", "leaves.json", "--device", "cpu", *settings]) == 0
    argv = ["--model", "saved/Leaves", "--device", "cpu", "--mode", "whole"]
    assert evaluate.main([*argv, "--split", "val"]) == 0
    assert inference.main([*argv, "--images", "data/val", "--extension", "jpg"]) == 0
    assert len(list(tmp_path.glob("outputs/*.png"))) == 8
