"""A mistake in the data ends training with one line that names the file, whoever reads it."""

from __future__ import annotations

import json

import numpy as np
import pytest

import check_data
import train
from tests.dataloaders.trees import blocks, picture, save


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(100):
        save(tmp_path / "train" / f"{number:03d}.jpg", picture((32, 32), number))
        save(tmp_path / "trainannot" / f"{number:03d}.png", blocks((32, 32), list(range(12)), number))
    data = {"type": "CamVid", "args": {"data_dir": str(tmp_path), "split": "train", "batch_size": 10}}
    content = {
        "name": "bad", "n_gpu": 0, "arch": {"type": "UNet", "args": {"base_channels": 2}},
        "train_loader": data, "optimizer": {"type": "SGD", "args": {"lr": 0.01}},
        "trainer": {"epochs": 1, "tensorboard": False, "val": False, "monitor": "off", "save_dir": "saved"},
    }  # fmt: skip
    (tmp_path / "c.json").write_text(json.dumps(content))
    return tmp_path


def test_one_pixel_of_37_in_one_of_a_hundred_masks(config, capsys):
    mask = blocks((32, 32), list(range(12)), 57)
    mask[3, 4] = 37
    save(config / "trainannot" / "057.png", mask)
    for main in (check_data.main, train.main):
        assert main(["--config", "c.json"]) == 2
        printed = capsys.readouterr()
        text = printed.out + printed.err
        assert "057.png: value 37 at 0.0977 % of its pixels, first at row 3, column 4" in text
        assert "Traceback" not in text


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda root: (root / "train" / "031.jpg").write_bytes(b""), "031.jpg: the file is empty"),
    (lambda root: (root / "trainannot" / "031.png").unlink(), "1 images have no mask"),
    (lambda root: save(root / "trainannot" / "031.png", np.zeros((8, 8), np.uint8)), "031.png 8x8"),
    (lambda root: save(root / "trainannot" / "031.png", picture((32, 32), 0)), "031.png: is a colour image"),
])  # fmt: skip
@pytest.mark.parametrize("workers", [0, 2])
def test_other_mistakes_name_their_file_too(config, capsys, spoil, words, workers):
    spoil(config)
    assert train.main(["--config", "c.json", "--set", f"train_loader.args.num_workers={workers}"]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and "Traceback" not in error
