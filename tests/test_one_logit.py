"""Two classes by one logit: from the config to the report, and equal to what a sigmoid says."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import evaluate
import inference
import train
from models.build import build_model
from models.trained import model_from_checkpoint
from tests.checkpoints import make_info
from utils.config.factory import Component
from utils.errors import ConfigError
from utils.losses import BCELoss, CrossEntropyLoss2d, DiceLoss, LovaszSoftmax
from utils.run.checkpoint import load_checkpoint


@pytest.fixture
def data(tmp_path):
    """Bright discs on dark noise; masks of 0 and 255 with a void rim of 128."""
    draw = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    rows, columns = np.mgrid[:40, :40]
    for number in range(10):
        y, x, radius = draw.integers((12, 12, 6), (28, 28, 12))
        distance = np.hypot(rows - y, columns - x)
        image = draw.integers(0, 90, (40, 40, 3)) + 140 * (distance < radius)[..., None]
        mask = np.where(distance < radius, 255, 0)
        mask[abs(distance - radius) < 1] = 128
        Image.fromarray(image.astype(np.uint8)).save(tmp_path / f"data/images/{number}.png")
        Image.fromarray(mask.astype(np.uint8)).save(tmp_path / f"data/masks/{number}.png")
    return tmp_path / "data"


@pytest.fixture
def config(data):
    loader = {"data_dir": str(data), "classes": ["disc"], "values": [255], "void": [128], "val_fraction": 0.3}
    content = {
        "name": "disc",
        "n_gpu": 0,
        "precision": "fp32",
        "arch": {"type": "UNet", "args": {"base_channels": 4, "num_classes": 1}},
        "train_loader": {
            "type": "Folder",
            "args": {**loader, "split": "train", "batch_size": 2, "crop_size": 32, "scale": False},
        },
        "val_loader": {"type": "Folder", "args": {**loader, "split": "val", "batch_size": 1, "val": True}},
        "optimizer": {"type": "AdamW", "args": {"lr": 0.02}},
        "loss": "BCELoss",
        "class_weights": "median",
        "trainer": {"epochs": 12, "save_dir": str(data.parent / "saved"), "save_period": 0},
    }
    path = data.parent / "disc.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.slow
def test_from_config_to_report(config, data, capsys):
    assert train.main(["-c", str(config), "--check"]) == 0
    assert train.main(["-c", str(config)]) == 0
    (run,) = (path.parent for path in config.parent.glob("saved/disc/*/best_model.pth"))
    figures = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    best = load_checkpoint(run / "best_model.pth")
    assert best["model"]["outc.weight"].shape[0] == 1
    validated = best["metrics"]["Class_IoU"]
    assert validated.keys() == {"background", "disc"} and min(validated.values()) > 0.7
    assert figures["val"]["Class_F1"].keys() == {"background", "disc"}
    assert any(path.name.startswith("events") for path in run.iterdir())

    model = str(run / "best_model.pth")
    output = config.parent / "report"
    assert evaluate.main(["-m", model, "-o", str(output), "-d", "cpu", "--precision", "fp32"]) == 0
    report = json.loads((output / "metrics.json").read_text())["metrics"]
    assert report["Class_IoU"] == pytest.approx(validated)
    assert "disc" in capsys.readouterr().out

    masks = config.parent / "masks"
    command = ["-m", model, "-i", str(data / "images"), "-o", str(masks), "-d", "cpu", "--precision", "fp32"]
    assert inference.main([*command, "--mode", "whole", "--overlay", "--save-probabilities"]) == 0
    network, info = model_from_checkpoint(best)
    assert info.classes == ("background", "disc")
    image = np.array(Image.open(data / "images" / "3.png"))
    normal = (torch.from_numpy(image) / 255 - torch.tensor(info.mean)) / torch.tensor(info.std)
    with torch.inference_mode():
        network.one_logit = False
        sigmoid = network(normal.permute(2, 0, 1)[None]).logits[0, 0].sigmoid().numpy()
    mask = np.array(Image.open(masks / "3.png"))
    sure = abs(sigmoid - 0.5) > 1e-4
    assert np.array_equal(mask[sure], (sigmoid > 0.5)[sure]) and set(np.unique(mask)) == {0, 1}
    saved = np.load(masks / "3.npz")["probabilities"]
    assert np.allclose(saved[1], sigmoid, atol=2e-3) and np.allclose(saved.sum(0), 1, atol=2e-3)


def test_every_loss_sees_a_sigmoid():
    torch.manual_seed(0)
    logit = torch.randn(2, 1, 6, 7, dtype=torch.float64)
    logits = torch.cat([torch.zeros_like(logit), logit], dim=1)
    target = torch.randint(0, 2, (2, 6, 7))
    target[:, 0] = 255
    valid = target != 255
    expected = F.binary_cross_entropy_with_logits(logit[:, 0][valid], target[valid].double()).item()
    assert BCELoss()(logits, target).item() == pytest.approx(expected, rel=1e-9)
    assert BCELoss()(logit, target).item() == pytest.approx(expected, rel=1e-9)
    assert CrossEntropyLoss2d()(logits, target).item() == pytest.approx(expected, rel=1e-9)
    p, t = logit[:, 0].sigmoid()[valid], target[valid].double()
    dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
    only = DiceLoss(include_background=False)(logits, target)
    assert only.item() == pytest.approx(dice.item(), rel=1e-9)
    assert LovaszSoftmax(exact=True)(logits, target).isfinite()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["PSPNet", "FCN8s"])
def test_output_is_two_classes_in_training_and_evaluation(name, monkeypatch):
    monkeypatch.setattr("models.vgg.HIDDEN", 64)
    monkeypatch.setattr("torch.nn.Linear.reset_parameters", lambda layer: None)  # of VGG's classifier
    backbone = {"PSPNet": "resnet18", "FCN8s": "vgg11"}[name]
    arch = {"type": name, "args": {"backbone": backbone, "pretrained": False, "num_classes": 1}}
    model = build_model(Component.from_plain(arch, "arch"), make_info(2))
    output = model.train()(torch.randn(2, 3, 33, 40))
    for logits in (output.logits, *output.aux, model.eval()(torch.randn(1, 3, 9, 8)).logits):
        assert logits.shape[1] == 2 and not logits[:, 0].any()


def test_one_logit_for_more_classes_is_refused():
    with pytest.raises(ConfigError, match=r"arch\.args\.num_classes: one logit .* the data set has 4"):
        build_model(Component("UNet", {"num_classes": 1}), make_info(4))


def test_a_data_set_of_one_class_names_the_remedy(data):
    from base import BaseDataSet

    class Alone(BaseDataSet):
        classes = ("disc",)

        def _set_files(self) -> None:
            raise AssertionError("not reached")

    with pytest.raises(
        ValueError, match=r'put the background first: \["background", "disc"\].*num_classes: 1'
    ):
        Alone(str(data), "train")
