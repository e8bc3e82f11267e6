"""A mistake in the data ends training with one line that names the file, whoever reads it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import check_data
import inference
import train
from tests.dataloaders.trees import blocks, picture, save


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A hundred images and their masks."""
    root = tmp_path_factory.mktemp("camvid")
    for number in range(100):
        save(root / "train" / f"{number:03d}.jpg", picture((32, 32), number))
        save(root / "trainannot" / f"{number:03d}.png", blocks((32, 32), list(range(12)), number))
    return root


@pytest.fixture
def config(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(images, tmp_path, dirs_exist_ok=True)
    data = {"type": "CamVid", "args": {"data_dir": str(tmp_path), "split": "train", "batch_size": 10}}
    content = {
        "name": "bad", "n_gpu": 0, "arch": {"type": "UNet", "args": {"base_channels": 2}},
        "train_loader": data, "optimizer": {"type": "SGD", "args": {"lr": 0.01}},
        "trainer": {"epochs": 1, "tensorboard": False, "val": False, "monitor": "off", "save_dir": "saved"},
    }  # fmt: skip
    (tmp_path / "c.json").write_text(json.dumps(content))
    return tmp_path


@pytest.mark.slow
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


def cut(path, share):
    """Keep the first part of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def flip(path):
    """Change one bit among the pixels of a PNG."""
    data = bytearray(path.read_bytes())
    data[data.find(b"IDAT") + 20] ^= 0x10
    path.write_bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize(("spoil", "words"), [
    (lambda root: (root / "train" / "031.jpg").write_bytes(b""), "031.jpg: the file is empty"),
    (lambda root: cut(root / "train" / "031.jpg", 0.05), "031.jpg: "),
    (lambda root: cut(root / "train" / "031.jpg", 0.5), "031.jpg: "),
    (lambda root: cut(root / "train" / "031.jpg", 0.999), "031.jpg: "),
    (lambda root: (root / "train" / "031.jpg").write_text("no image"), "031.jpg: "),
    (lambda root: flip(root / "trainannot" / "031.png"), "031.png: "),
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


def folder_config(root, size, name="a", runs="saved"):
    """Train and validate on four images of one size, (width, height), in crops of 32."""
    for number in range(4):
        save(root / "images" / f"{name}{number}.png", picture(size[::-1], number))
        save(root / "masks" / f"{name}{number}.png", blocks(size[::-1], [0, 1], number))
    data = {"data_dir": str(root), "classes": ["a", "b"], "split": "train", "batch_size": 2}
    content = {
        "name": "small", "n_gpu": 0, "arch": {"type": "UNet", "args": {"base_channels": 2}}, "allow_overlap": True,
        "train_loader": {"type": "Folder", "args": {**data, "crop_size": 32}},
        "val_loader": {"type": "Folder", "args": {**data, "val": True}},
        "optimizer": {"type": "SGD", "args": {"lr": 0.01}},
        "trainer": {"epochs": 1, "tensorboard": False, "save_dir": runs},
    }  # fmt: skip
    (root / "c.json").write_text(json.dumps(content))
    return str(root / "c.json")


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3)])
def test_tiny_and_thin_images_are_padded_and_trained_on(tmp_path, monkeypatch, size):
    monkeypatch.chdir(tmp_path)
    assert train.main(["--config", folder_config(tmp_path, size)]) == 0
    assert list(tmp_path.rglob("best_model.pth"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["ü ñ 图", "quote'\".", "new\nline", "-dash", "n" * 200, "[x]*?", "%d {0} $HOME"]
)
def test_odd_names_of_files_and_folders_train_and_predict(tmp_path, monkeypatch, name):
    """A run whose data, results and images all lie in folders of that name."""
    root = tmp_path / name
    root.mkdir()
    monkeypatch.chdir(tmp_path)
    assert train.main(["--config", folder_config(root, (40, 24), name, runs=f"./{name}/runs")]) == 0
    (model,) = root.rglob("best_model.pth")
    output = root / "out"
    arguments = ["-m", str(model), "-i", str(root / "images"), "-o", str(output), "--mode", "whole"]
    assert inference.main([*arguments, "-d", "cpu"]) == 0
    assert {p.name for p in output.glob("*.png")} == {f"{name}{number}.png" for number in range(4)}
