"""The older "smp": true form."""

from __future__ import annotations

import copy

import pytest

from tests.dataloaders.trees import blocks, picture, save
from tests.experiments import open_data
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


def family(data_dir, loader="TianChi"):
    """The README config of the template family: ``smp_args`` alone says which data is used."""
    args = {"data_dir": "data/", "batch_size": 32, "base_size": 224, "crop_size": 224, "augment": True,
            "shuffle": True, "scale": True, "flip": True, "rotate": True, "blur": False, "split": "train",
            "num_workers": 0}  # fmt: skip
    val = {
        "data_dir": "data/",
        "batch_size": 32,
        "crop_size": 224,
        "val": True,
        "split": "val",
        "num_workers": 0,
    }
    return {
        "name": "PSPNet", "n_gpu": 1, "use_synch_bn": False, "smp": True,
        "smp_args": {"type": "Unet", "backbone": "resnet18", "weights": None, "data_dir": str(data_dir),
                     "classes": 3, "epochs": 2, "batch_size": 2, "image_size": 64, "device": "cuda"},
        "train_loader": {"type": loader, "args": args}, "val_loader": {"type": loader, "args": val},
    }  # fmt: skip


def meter(root):
    for split, count in (("train", 3), ("val", 2)):
        for number in range(count):
            save(root / "images" / split / f"{number}.jpg", picture((40, 48), number))
            save(root / "annotations" / split / f"{number}.png", blocks((40, 48), [0, 1, 2], number))
    return root


def test_the_loader_is_that_of_the_data_in_data_dir(tmp_path):
    new, lines = translate(family(meter(tmp_path / "meter_seg")))
    assert new["train_loader"]["type"] == new["val_loader"]["type"] == "Meter"
    assert "smp_args.data_dir holds Meter, not TianChi: train_loader.type became Meter" in lines
    sizes = [len(open_data(new[part], part).dataset) for part in ("train_loader", "val_loader")]
    assert sizes == [3, 2]


@pytest.mark.parametrize("loader", ["Meter", "Folder", "VOC", "Unknown", None])
def test_a_loader_that_fits_or_is_not_recognised_is_kept(tmp_path, loader):
    new, lines = translate(family(meter(tmp_path), loader))
    assert new["train_loader"]["type"] == loader and not any("holds" in line for line in lines)


def test_a_folder_that_holds_nothing_known_or_two_data_sets_changes_nothing(tmp_path):
    assert translate(family(tmp_path / "none"))[0]["train_loader"]["type"] == "TianChi"
    (meter(tmp_path) / "leftImg8bit").mkdir()
    assert translate(family(tmp_path))[0]["train_loader"]["type"] == "TianChi"
