"""The Python blocks of docs/python.md run one after the other, on the run of a tiny config."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import train
from tests.conftest import ROOT
from tests.docs.pages import fences

TINY = [
    "arch.args.base_channels=2",
    *(f"{loader}.args.num_images=8" for loader in ("train_loader", "val_loader")),
    "trainer.epochs=1",
    "trainer.tensorboard=false",
    "n_gpu=0",
    "tune_allocator=false",
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with config.json, its finished run and a photo, as after the quick start."""
    monkeypatch.chdir(tmp_path)
    settings = [word for setting in TINY for word in ("--set", setting)]
    assert train.main(["--config", str(ROOT / "config.json"), *settings]) == 0
    (run,) = (tmp_path / "saved" / "UNet_Shapes").iterdir()
    (tmp_path / "config.json").write_bytes((run / "config.json").read_bytes())
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg")
    return tmp_path


@pytest.mark.slow
def test_all_snippets_run_in_order(project: Path, capsys: pytest.CaptureFixture[str]):
    level = logging.getLogger().level
    namespace: dict[str, Any] = {}
    for number, block in enumerate(fences("docs/python.md", "python"), 1):
        exec(compile(block, f"docs/python.md, block {number}", "exec"), namespace)
    assert number == 6
    logging.getLogger().setLevel(level)
    assert namespace["mask"].shape == (40, 60)
    with Image.open(project / "mask.png") as mask:
        assert mask.size == (60, 40)
    (run,) = (project / "saved" / "from_python").iterdir()
    assert json.loads((run / "config.json").read_text())["trainer"]["epochs"] == 1
    assert (run / "best_model.pth").exists()
    assert "background" in capsys.readouterr().out
