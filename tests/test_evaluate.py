"""evaluate.py end to end on the embedded data set."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import evaluate
import inference
from dataloaders import Shapes
from models.trained import predictor_of
from tests.checkpoints import make_checkpoint
from tests.conftest import ROOT
from utils.evaluation.metrics import ConfusionMatrix

DATA = {"split": "val", "num_images": 5, "image_size": 48}
LOADER = {"type": "Shapes", "args": {**DATA, "batch_size": 2, "val": True}}
TRAIN = {
    "type": "Shapes",
    "args": {**DATA, "split": "train", "batch_size": 2, "crop_size": 32, "base_size": 64},
}


def info():
    return Shapes(batch_size=1, val=True, **DATA).info


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "best_model.pth"
    return make_checkpoint(path, info(), train_loader=TRAIN, val_loader=LOADER)


def run(model: Path, output: Path, *options: str) -> int:
    return evaluate.main(["-m", str(model), "-o", str(output), "-d", "cpu", *options])


def read(output: Path) -> dict:
    return json.loads((output / "metrics.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.slow
def test_the_figures_are_those_of_the_confusion_matrix(model, tmp_path, capsys):
    assert run(model, tmp_path, "--precision", "fp32") == 0
    args = inference.parse_arguments(
        ["-m", str(model), "-i", "x", "--mode", "whole", "-d", "cpu", "--precision", "fp32"]
    )
    predictor = predictor_of(args)
    counts = ConfusionMatrix(7)
    for batch in Shapes(batch_size=1, val=True, **DATA):
        mask = predictor.predict(batch.images[0].numpy())
        counts.update(torch.from_numpy(mask)[None], batch.target)
    written = read(tmp_path)
    assert written["metrics"]["Mean_IoU"] == counts.compute(info().classes).mean_iou
    table = np.loadtxt(tmp_path / "confusion.csv", delimiter=",", skiprows=1, usecols=range(1, 8), dtype=int)
    assert np.array_equal(table, counts.matrix.numpy())
    protocol = written["protocol"]
    assert protocol["images"] == 5 and protocol["split"] == "val" and protocol["resolution"] == "original"
    out = capsys.readouterr().out
    assert "circle" in out and "mIoU" in out
    assert {"worst.jpg", "best.jpg", "per_image.csv", "confusion.png"} <= {p.name for p in tmp_path.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["whole", "sliding"])
def test_readers_change_nothing(model, tmp_path, mode):
    tables = []
    for readers in ("1", "3"):
        assert run(model, tmp_path / readers, "--mode", mode, "--num-workers", readers, "--no-boundary") == 0
        tables.append((tmp_path / readers / "confusion.csv").read_bytes())
        assert "Boundary_IoU" not in read(tmp_path / readers)["metrics"]
    assert tables[0] == tables[1]
    images = [(tmp_path / readers / "per_image.csv").read_bytes() for readers in ("1", "3")]
    assert images[0] == images[1]


@pytest.mark.slow
def test_training_options_do_not_reach_the_images(model, tmp_path):
    """The train split is read whole although the training cropped and scaled it."""
    path = make_checkpoint(tmp_path / "m.pth", info(), train_loader=TRAIN)
    assert run(path, tmp_path / "out", "--split", "train") == 0
    pixels = sum(read(tmp_path / "out")["metrics"]["Class_Pixels"].values())
    assert 0.7 * 5 * 48 * 48 < pixels <= 5 * 48 * 48


@pytest.mark.slow
def test_the_part_that_val_split_kept_back_is_the_default(tmp_path):
    train = {**TRAIN, "args": {**TRAIN["args"], "val_split": 2}}
    path = make_checkpoint(tmp_path / "m.pth", info(), train_loader=train)
    assert run(path, tmp_path / "out") == 0
    assert read(tmp_path / "out")["protocol"]["images"] == 2


@pytest.mark.slow
def test_an_ensemble_is_evaluated_like_a_model(model, tmp_path):
    other = make_checkpoint(tmp_path / "b.pth", info(), seed=1, val_loader=LOADER)
    assert run(model, tmp_path / "out", "--model", str(model), str(other), "--rule", "majority") == 0
    assert read(tmp_path / "out")["protocol"]["rule"] == "majority"


@pytest.mark.slow
def test_results_are_written_in_original_ids(tmp_path):
    facts = info()
    path = make_checkpoint(tmp_path / "m.pth", facts, val_loader=LOADER)
    assert run(path, tmp_path / "out", "--save-results") == 0
    files = sorted((tmp_path / "out" / "masks").rglob("*.png"))
    assert len(files) == 5
    with Image.open(files[0]) as mask:
        assert mask.size == (48, 48)


def test_cityscapes_own_tool_reads_the_results_and_agrees(tmp_path, monkeypatch):
    """Its ids, file names and mIoU, on a tree in the official layout."""
    from dataloaders import CityScapes
    from tests.dataloaders.trees import cityscapes

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        name = "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling"
        official = pytest.importorskip(name, reason="needs the package cityscapesScripts")
    data = {**cityscapes(tmp_path / "data"), "split": "val"}
    facts = CityScapes(batch_size=1, val=True, **data).info
    loader = {"type": "CityScapes", "args": {**data, "batch_size": 1, "val": True}}
    path = make_checkpoint(tmp_path / "m.pth", facts, val_loader=loader)
    assert run(path, tmp_path / "out", "--save-results", "--no-boundary") == 0
    ours = read(tmp_path / "out")["metrics"]

    options = copy.copy(official.args)
    options.predictionPath, options.predictionWalk = str(tmp_path / "out" / "masks"), None
    options.evalInstLevelScore, options.JSONOutput, options.quiet = False, False, True
    truths = sorted(map(str, (tmp_path / "data" / "gtFine" / "val").rglob("*_labelIds.png")))
    found = [official.getPrediction(options, truth) for truth in truths]
    theirs = official.evaluateImgLists(found, truths, options)
    assert len(found) == 4 and 0 < ours["Mean_IoU"] < 1
    assert ours["Mean_IoU"] == pytest.approx(theirs["averageScoreClasses"], abs=1e-12)
    for label, value in ours["Class_IoU"].items():
        other = theirs["classScores"][label]
        assert np.isnan(other) if value is None else value == pytest.approx(other, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sections", "options", "words"),
    [
        ({}, [], "no data set"),
        ({"train_loader": TRAIN}, [], "val_split"),
        ({"val_loader": LOADER}, ["--split", "tset"], "tset"),
        ({"val_loader": {**LOADER, "type": "Shapez"}}, [], "Shapez"),
        ({"val_loader": LOADER}, ["--config", "missing.json"], "missing.json"),
    ],
)
def test_what_cannot_be_evaluated_is_exit_2(tmp_path, capsys, sections, options, words):
    path = make_checkpoint(tmp_path / "m.pth", info(), **sections)
    assert run(path, tmp_path / "out", *options) == 2
    err = capsys.readouterr().err
    assert words in err and "Traceback" not in err


@pytest.mark.slow
def test_other_classes_are_refused(tmp_path, capsys):
    path = make_checkpoint(tmp_path / "m.pth", val_loader=LOADER)
    assert run(path, tmp_path / "out") == 2
    assert "c0" in capsys.readouterr().err


@pytest.mark.parametrize("script", ["evaluate.py", "export.py", "vote.py", "png2rle.py"])
def test_help_answers_without_torch(script):
    code = (
        "import runpy, sys; sys.argv = [sys.argv[1], '--help']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'numpy', 'cv2'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "usage" in done.stdout, done.stderr
