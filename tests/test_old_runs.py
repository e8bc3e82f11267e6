"""Runs and checkpoints of an earlier revision still predict, evaluate and resume.

``tests/fixtures/old_runs/make.py`` made them with revision 7ed444c, which also computed what is expected here.
"""

from __future__ import annotations

import json
import lzma
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import evaluate
import inference
import train
from tests.conftest import ROOT

OLD = ROOT / "tests" / "fixtures" / "old_runs"
EXPECTED = json.loads((OLD / "expected.json").read_text())
RUNS = sorted(EXPECTED)


@pytest.fixture(params=RUNS)
def run(request, tmp_path, monkeypatch) -> Path:
    """A copy of a run folder; ``best_model.pth`` is its newest state."""
    folder = tmp_path / "runs" / request.param / "2026-01-01_00-00-00"
    folder.mkdir(parents=True)
    for name in ("config.json", "metrics.jsonl"):
        shutil.copy(OLD / request.param / name, folder / name)
    state = lzma.decompress((OLD / request.param / "last.pth.xz").read_bytes())
    for name in ("last.pth", "best_model.pth"):
        (folder / name).write_bytes(state)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(OLD)  # the class of a user's own
    yield folder
    sys.modules.pop("old_pyramid", None)


@pytest.mark.parametrize("mode", ["whole", "multiscale"])
def test_an_old_checkpoint_predicts_the_same_probabilities(run, mode):
    argv = ["-m", str(run), "-i", str(OLD / "image.png"), "-o", "out", "--mode", mode, "-d", "cpu"]
    assert inference.main([*argv, "--save-probabilities"]) == 0
    expected = np.load(OLD / run.parent.name / f"{mode}.npz")["probabilities"].astype(np.float32)
    found = np.load("out/image.npz")["probabilities"].astype(np.float32)
    assert expected.std() > 0.01  # or any network would do
    np.testing.assert_allclose(found, expected, atol=1e-3)  # steps of float16


def test_an_old_checkpoint_evaluates_to_the_same_figures(run):
    assert evaluate.main(["-m", str(run), "--split", "val", "-o", "report", "-d", "cpu"]) == 0
    found = json.loads(Path("report/metrics.json").read_text())["metrics"]
    assert_covers(found, EXPECTED[run.parent.name]["evaluation"])


@pytest.mark.slow
def test_an_old_run_resumes_as_if_it_had_never_been_stopped(run):
    (run / "best_model.pth").unlink()
    assert train.main(["--resume", str(run), "-d", "cpu"]) == 0
    expected = EXPECTED[run.parent.name]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    for found, wanted in zip(lines, expected["epochs"], strict=True):
        assert_covers(found, {**wanted, "seconds": found["seconds"]})
    state = torch.load(run / "last.pth", weights_only=True)["model"]
    norms = {name: float(value.double().square().sum()) for name, value in state.items()}
    assert norms == pytest.approx(expected["weights"], rel=1e-4, abs=1e-9)


def assert_covers(found: Any, expected: Any, place: str = "") -> None:
    """Compare what is expected, rounding apart; ``found`` may have more keys."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            assert_covers(found[key], value, f"{place}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), place
        for index, value in enumerate(expected):
            assert_covers(found[index], value, f"{place}[{index}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6), place
    else:
        assert found == expected, place
