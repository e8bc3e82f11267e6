from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tools import show_batch
from utils.dataset_info import DatasetInfo
from utils.report.sheets import contact_sheet


@pytest.fixture
def config(tmp_path):
    spec = {"type": "Shapes", "args": {"split": "train", "batch_size": 4, "num_images": 8, "image_size": 64}}
    (tmp_path / "c.json").write_text(json.dumps({"train_loader": spec}))
    return tmp_path / "c.json"


@pytest.mark.slow
def test_a_batch_is_drawn(config, capsys):
    output = config.parent / "new" / "batch.png"
    assert show_batch.main(["-c", str(config), "-o", str(output), "--batches", "2"]) == 0
    assert "8 samples" in capsys.readouterr().out
    picture = np.asarray(Image.open(output))
    assert picture.shape[0] > 4 * 256 and picture.shape[1] > 2 * 2 * 256


@pytest.mark.slow
def test_validation_needs_validation_data(config, capsys):
    assert show_batch.main(["-c", str(config), "--val"]) == 2
    assert "val_split" in capsys.readouterr().err
    output = str(config.parent / "b.png")
    changed = ["--set", "train_loader.args.val_split=0.5", "--val", "-o", output]
    assert show_batch.main(["-c", str(config), *changed]) == 0


def test_mistakes_are_one_line(config, capsys):
    assert show_batch.main(["-c", str(config), "--set", "train_loader.args.split=tran"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_labels_lie_over_their_image_and_void_stays_clear():
    info = DatasetInfo(("a", "b"), ((0, 0, 0), (255, 0, 0)))
    image = np.full((64, 64, 3), 100, np.uint8)
    label = np.full((64, 64), 255, np.uint8)
    label[:32] = 1
    sheet = contact_sheet([image], [label], ["x"], info, columns=1, height=64)
    assert sheet[10, 10].tolist() == [100, 100, 100]
    assert sheet[10, 64 + 10].tolist() == [193, 40, 40]
    assert sheet[60, 64 + 10].tolist() == [100, 100, 100]


@pytest.mark.slow
def test_it_runs_as_a_file_from_any_folder(config, tmp_path):
    file = str(ROOT / "tools" / "show_batch.py")
    full = [sys.executable, file, "-c", str(config), "-o", str(tmp_path / "drawn.png")]
    done = subprocess.run(full, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "drawn.png").exists()


@pytest.mark.slow
def test_it_runs_as_a_module(forks, config, tmp_path):
    program = "import runpy; runpy.run_module('tools.show_batch', run_name='__main__', alter_sys=True)"
    done = forks.run(program, "-c", config, "-o", tmp_path / "drawn.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "drawn.png").exists()


@pytest.mark.parametrize(
    "options", [["--batches", "-1"], ["--columns", "0"], ["--epoch", "-1"], ["-o", "nan"]]
)
def test_a_count_or_a_name_out_of_range_is_one_line(config, capsys, options):
    assert show_batch.main(["-c", str(config), *options]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
