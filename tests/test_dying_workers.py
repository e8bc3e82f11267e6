"""Worker processes that die or fail end a training in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FAULTS = {
    "killed": "os.kill(os.getpid(), 9)",
    "exits": "os._exit(3)",
    "raises": 'raise OSError(28, "No space left on device", "cache.bin")',
}
DATA = """
import os
from dataloaders.shapes import ShapesDataSet
from base import BaseDataLoader

class FatalDataSet(ShapesDataSet):
    def _load_data(self, index):
        if index == 21:
            {fault}
        return super()._load_data(index)

class Fatal(BaseDataLoader):
    dataset_class = FatalDataSet
"""


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "code", "words"), [
    ("killed", 2, "worker process"), ("exits", 2, "worker process"), ("raises", 4, "cache.bin: No space left"),
])  # fmt: skip
def test_a_worker_that_dies_or_fails_ends_the_training_in_one_line(forks, fault, code, words, tmp_path: Path):
    (tmp_path / "fatal.py").write_text(DATA.format(fault=FAULTS[fault]))
    args = {"split": "train", "num_images": 24, "image_size": 32, "batch_size": 2, "shuffle": False}
    workers = {"num_workers": 2, "worker_type": "process"}
    config = {
        "name": "dies",
        "arch": {"type": "UNet", "args": {"base_channels": 4}},
        "train_loader": {"type": "fatal.Fatal", "args": {**args, **workers}},
        "optimizer": {"type": "SGD", "args": {"lr": 0.01}},
        "trainer": {"epochs": 1, "val": False, "tensorboard": False, "save_dir": str(tmp_path / "saved")},
    }
    (tmp_path / "c.json").write_text(json.dumps(config))
    program = "import sys, train; sys.exit(train.main())"
    done = forks.run(program, "-c", "c.json", "-d", "cpu", cwd=tmp_path)
    errors = done.stderr.split("Run folder")[1].splitlines()[1:]
    assert done.returncode == code, done.stderr
    assert next(line for line in errors if line.strip()).startswith("error: ") and words in errors[-1]
    assert "Traceback" not in done.stderr and done.stderr.count("error: ") == 1
