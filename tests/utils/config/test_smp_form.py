"""The older "smp": true form."""

from __future__ import annotations

import copy

import pytest

from utils.config.smp_form import translate
from utils.errors import ConfigError

OLD = {
    "name": "TianChi",
    "smp": True,
    "smp_args": {
        "type": "DeepLabV3Plus", "backbone": "resnet50", "weights": "imagenet", "data_dir": "/data", "classes": 2,
        "epochs": 7, "batch_size": 4, "image_size": 224, "device": "cuda",
    },
    "arch": {"type": "PSPNet", "args": {}},
    "train_loader": {"type": "VOC", "args": {"batch_size": 9}},
    "val_loader": {"type": "VOC"},
    "trainer": {"epochs": 80},
}  # fmt: skip


def test_becomes_a_normal_config_and_says_so():
    before = copy.deepcopy(OLD)
    new, lines = translate(OLD)
    assert before == OLD
    assert "smp" not in new and "smp_args" not in new
    assert new["arch"] == {
        "type": "SMP",
        "args": {"architecture": "DeepLabV3Plus", "encoder_name": "resnet50", "encoder_weights": "imagenet"},
    }
    for loader in ("train_loader", "val_loader"):
        args = new[loader]["args"]
        assert args == {"batch_size": 4, "data_dir": "/data", "crop_size": 224}
    assert new["trainer"]["epochs"] == 7
    text = "\n".join(lines)
    for word in ("SMP", "data_dir", "crop_size", "trainer.epochs", "classes", "--device cuda"):
        assert word in text


def test_a_normal_config_is_left_alone():
    normal = {"arch": {"type": "UNet"}, "trainer": {"epochs": 1}}
    assert translate(normal) == (normal, [])
    new, lines = translate({**normal, "smp": False, "smp_args": {"type": "Unet"}})
    assert new == normal and "ignored" in lines[0]


@pytest.mark.parametrize(
    ("old", "message"),
    [
        ({"smp": True}, r"smp_args\.type: missing"),
        ({"smp": True, "smp_args": {"type": "Unet", "encodr": 1}}, r"smp_args\.encodr: not known"),
        ({"smp": "yes"}, r"smp: expected true or false"),
    ],
)
def test_mistakes_are_named(old, message):
    with pytest.raises(ConfigError, match=message):
        translate(old)


def test_missing_sections_are_left_to_the_normal_check():
    new, _ = translate({"smp": True, "smp_args": {"type": "Unet", "batch_size": 2}, "train_loader": 3})
    assert new["train_loader"] == 3 and "val_loader" not in new
