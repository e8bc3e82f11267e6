"""Pseudo-labels as a user makes them: masks, thresholds, a folder that trains, and one line for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.trained import load_predictor
from tests.checkpoints import make_checkpoint
from tests.experiments import open_data, problems_of
from tests.test_train import CONFIG
from tools import pseudo_label
from utils.images.masks import read_mask
from utils.predict.options import PredictOptions


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A model of four classes, four images of which two are labelled, and masks of 0, 10, 20, 30 with void 99."""
    folder = tmp_path_factory.mktemp("data")
    make_checkpoint(folder / "m.pth")
    draw = np.random.default_rng(0)
    for name in ("images/a.png", "images/deep/b.png", "images/c.png", "images/d.v2.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 255, (24, 40, 3), np.uint8)).save(folder / name)
    for name in ("labelled", "masks"):
        (folder / name).mkdir()
    for name in ("c", "d.v2"):
        (folder / "labelled" / f"{name}.png").write_bytes((folder / "images" / f"{name}.png").read_bytes())
        raw = draw.choice([0, 10, 20, 30, 99], (24, 40)).astype(np.uint8)
        Image.fromarray(raw).save(folder / "masks" / f"{name}.png")
    return folder


def label(data: Path, output: Path, *more: str) -> int:
    argv = ["-m", str(data / "m.pth"), "-i", str(data / "images"), "-o", str(output)]
    return pseudo_label.main([*argv, "--mode", "whole", "-d", "cpu", *more])


def labelled(data: Path, *more: str) -> list[str]:
    pairs = ["--labelled", str(data / "labelled"), str(data / "masks")]
    return [*pairs, "--values", "0", "10", "20", "30", "--void", "99", *more]


def expected_mask(data: Path, name: str, least: float) -> np.ndarray:
    predictor = load_predictor(data / "m.pth", options=PredictOptions(mode="whole"), device="cpu")
    scores = predictor.probabilities(np.asarray(Image.open(data / "images" / name)))
    return np.where(scores.max(axis=0) >= np.float32(least), scores.argmax(axis=0), 255)


def test_the_folder_trains_on_pseudo_labels_and_labelled_pairs(data, tmp_path, capsys):
    base = json.loads(json.dumps(CONFIG))
    base["train_loader"]["args"] |= {"crop_size": 16, "val_split": 0.5}
    (tmp_path / "base.json").write_text(json.dumps(base))
    output = tmp_path / "out"
    assert label(data, output, "--confidence", "0.5", *labelled(data), "-c", str(tmp_path / "base.json")) == 0
    table = capsys.readouterr().out.splitlines()
    masks = {name: read_mask(output / "masks" / "pseudo" / f"{name}.png") for name in ("a", "deep/b")}
    for name, mask in masks.items():
        assert np.array_equal(mask, expected_mask(data, f"{name}.png", 0.5))
    raw = np.stack([read_mask(data / "masks" / f"{name}.png") for name in ("c", "d.v2")])
    for index, row in enumerate(table[1:]):
        value = index if index < 4 else 255
        counted = sum(int((mask == value).sum()) for mask in masks.values())
        known = int((raw == (10 * index if index < 4 else 99)).sum())
        numbers = [number.replace(",", "") for number in row.split()]
        assert numbers[-3:-1] == [str(known), str(counted)]
    config = json.loads((output / "config.json").read_text())
    arguments = config["train_loader"]["args"]
    assert arguments["crop_size"] == 16 and arguments["flip"] and "val_split" not in arguments
    assert config["name"] == "tiny_pseudo" and problems_of(config) == []
    dataset = open_data(
        {"type": "Folder", "args": {**arguments, "crop_size": None, "augment": False}}
    ).dataset
    found = {sample.image_id: dataset.label(index) for index, sample in enumerate(dataset.files)}
    assert found.keys() == {"labelled/c", "labelled/d.v2", "pseudo/a", "pseudo/deep/b"}
    assert np.array_equal(found["labelled/d.v2"], np.where(raw[1] == 99, 255, raw[1] // 10))
    assert np.array_equal(found["pseudo/a"], masks["a"])
    assert (output / "images" / "pseudo" / "a.png").samefile(data / "images" / "a.png")


def test_thresholds_of_each_class_keep_equal_shares_and_a_stopped_job_goes_on(data, tmp_path, capsys):
    output = tmp_path / "out"
    assert label(data, output, "--balanced", "0.3") == 0
    record = json.loads((output / "pseudo_labels.json").read_text())
    predictor = load_predictor(data / "m.pth", options=PredictOptions(mode="whole"), device="cpu")
    names = ("a", "c", "d.v2", "deep/b")
    scores = [predictor.probabilities(np.asarray(Image.open(data / "images" / f"{n}.png"))) for n in names]
    best = np.concatenate([part.max(axis=0).ravel() for part in scores])
    first = np.concatenate([part.argmax(axis=0).ravel() for part in scores])
    for index, threshold in enumerate(record["thresholds"].values()):
        ranked = np.sort(best[first == index])[::-1]
        assert threshold == pytest.approx(ranked[int(np.ceil(0.3 * len(ranked))) - 1], abs=0.002)
        mask = read_mask(output / "masks" / "pseudo" / "deep" / "b.png")
        assert (scores[3][index][mask == index] >= np.float32(threshold)).all() and (mask == index).any()
    before = {path: path.read_bytes() for path in output.rglob("*.*") if path.is_file()}
    lost = output / "masks" / "pseudo" / "a.png"
    lost.unlink()
    kept_mask = output / "masks" / "pseudo" / "c.png"
    stamp = kept_mask.stat().st_mtime_ns
    assert label(data, output, "--balanced", "0.3") == 0
    assert {path: path.read_bytes() for path in before} == before
    assert kept_mask.stat().st_mtime_ns == stamp
    capsys.readouterr()
    assert label(data, output, "--balanced", "0.4") == 2
    assert "was filled with other settings (balanced: 0.3, now 0.4)" in capsys.readouterr().err


def test_mistakes_are_one_line(data, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x.txt").write_text("")
    (tmp_path / "bare.json").write_text("{}")
    mistakes = {
        (str(tmp_path / "full"),): "holds other files; name a new folder",
        (str(tmp_path / "1"), "--confidence", "1.5"): "--confidence 1.5: between 0 and 1",
        (str(tmp_path / "1"), "--balanced", "0"): "labels nothing",
        (str(tmp_path / "1"), "-c", str(tmp_path / "bare.json")): "train_loader: missing",
        (
            str(tmp_path / "1"),
            "--labelled",
            str(data / "images"),
            str(data / "masks"),
        ): "1 of 3 images have no mask",
        (str(tmp_path / "1"), *labelled(data), "--values", "1", "2"): "--values: 2 numbers for 4 classes",
        (str(tmp_path / "1"), *labelled(data), "--void", "10"): "the mask value 10 is given two meanings",
        (str(tmp_path / "2"), "--labelled", str(data / "labelled"), str(data / "masks")): "c.png: ",
    }
    odd = tmp_path / "photo.dat"
    odd.write_bytes((data / "images" / "a.png").read_bytes())
    mistakes[(str(tmp_path / "3"), "-i", str(odd))] = "a data set reads no files that end in '.dat'"
    for (output, *more), text in mistakes.items():
        assert label(data, Path(output), *more) == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and text in errors[0]
    assert not (tmp_path / "1").exists()


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_labelled(data, tmp_path, capsys):
    images = tmp_path / "images"
    images.mkdir()
    (images / "bad.png").write_bytes(b"nothing")
    (images / "good.png").write_bytes((data / "images" / "a.png").read_bytes())
    torch.manual_seed(0)
    assert label(data, tmp_path / "out", "-i", str(images)) == 1
    assert "bad.png" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out" / "masks" / "pseudo").iterdir()] == ["good.png"]
    assert [path.name for path in (tmp_path / "out" / "images" / "pseudo").iterdir()] == ["good.png"]
