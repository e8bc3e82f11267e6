"""A checkpoint may come from anyone: the modules that it names are imported only where the user says so."""

from __future__ import annotations

import json
import sys

import pytest

import evaluate
import export
import inference
import train
from models.trained import load_predictor, model_from_checkpoint
from tests.checkpoints import make_checkpoint
from utils.errors import CheckpointError
from utils.run.checkpoint import load_checkpoint

MODULE = """
from pathlib import Path
from dataloaders import Shapes
from models import UNet
Path(__file__).with_suffix(".ran").touch()
class Net(UNet): pass
class Data(Shapes): pass
"""
NET = {"type": "strangers.Net", "args": {"base_channels": 2}}
SHAPES = {"split": "val", "num_images": 2, "image_size": 32, "batch_size": 1}
KNOWN = {"type": "UNet", "args": {"base_channels": 2}}


class Stranger:
    """A module on the path that leaves a file when it is imported."""

    def __init__(self, folder) -> None:
        self.ran = folder / "strangers.ran"
        (folder / "strangers.py").write_text(MODULE)

    def imported(self) -> bool:
        """Return whether it ran since the last call."""
        ran = self.ran.exists()
        self.ran.unlink(missing_ok=True)
        sys.modules.pop("strangers", None)
        return ran


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    (tmp_path / "path").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "path")
    yield Stranger(tmp_path / "path")
    sys.modules.pop("strangers", None)


def checkpoint(tmp_path, stranger, arch=NET, **sections):
    path = tmp_path / "run" / "best_model.pth"
    path.parent.mkdir()
    make_checkpoint(path, arch=arch, **sections)
    stranger.imported()
    return path


@pytest.mark.slow
def test_a_model_outside_the_catalogue_needs_trust_or_a_config_that_names_it(tmp_path, stranger):
    path = checkpoint(tmp_path, stranger)
    for given in (path, path.parent):
        with pytest.raises(CheckpointError, match=r"arch\.type: 'strangers\.Net' is outside .* give --trust"):
            load_predictor(given, device="cpu")
        assert not stranger.imported()
    with pytest.raises(CheckpointError, match="outside the catalogue"):
        model_from_checkpoint(load_checkpoint(path))
    assert load_predictor(path, device="cpu", trust=True) and stranger.imported()
    config = tmp_path / "own.json"
    config.write_text(json.dumps({"arch": NET}))
    assert load_predictor(path, device="cpu", configs=[str(config)]) and stranger.imported()


@pytest.mark.slow
def test_the_config_of_a_run_folder_counts_only_where_the_folder_is_given(tmp_path, stranger):
    path = checkpoint(tmp_path, stranger)
    (path.parent / "config.json").write_text(json.dumps({"arch": NET}))
    assert load_predictor(path.parent, device="cpu") and stranger.imported()
    with pytest.raises(CheckpointError, match="outside the catalogue"):
        load_predictor(path, device="cpu")
    (path.parent / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="outside the catalogue"):
        load_predictor(path.parent, device="cpu")
    assert not stranger.imported()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "options"),
    [(inference, ["-i", "IMAGE", "-d", "cpu"]), (export, ["-f", "torchscript"]), (evaluate, ["-d", "cpu"])],
)
def test_the_scripts_refuse_in_one_line(tmp_path, stranger, script, options, capsys):
    loader = {"type": "Shapes", "args": {**SHAPES, "val": True}}
    path = checkpoint(tmp_path, stranger, val_loader=loader, train_loader=loader)
    (tmp_path / "IMAGE").mkdir()
    (tmp_path / "IMAGE" / "a.png").write_bytes(b"")
    options = [str(tmp_path / "IMAGE") if option == "IMAGE" else option for option in options]
    assert script.main(["-m", str(path), *options]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and "give --trust" in error
    assert not stranger.imported()


@pytest.mark.slow
def test_evaluate_imports_no_data_set_that_only_the_checkpoint_names(tmp_path, stranger, capsys):
    loader = {"type": "strangers.Data", "args": {**SHAPES, "val": True}}
    path = checkpoint(tmp_path, stranger, arch=KNOWN, val_loader=loader)
    assert evaluate.main(["-m", str(path), "-d", "cpu"]) == 2
    assert "val_loader.type: 'strangers.Data' is outside the catalogue" in capsys.readouterr().err
    assert not stranger.imported()
    evaluate.main(["-m", str(path), "-d", "cpu", "--trust"])
    assert stranger.imported()


@pytest.mark.slow
def test_a_resumed_run_imports_what_its_own_config_names_and_nothing_else(tmp_path, stranger, capsys):
    config = {
        "name": "own",
        "n_gpu": 0,
        "arch": NET,
        "train_loader": {"type": "Shapes", "args": SHAPES},
        "optimizer": {"type": "SGD", "args": {"lr": 0.1}},
        "trainer": {
            "epochs": 1,
            "val": False,
            "monitor": "off",
            "tensorboard": False,
            "save_dir": str(tmp_path),
        },
    }
    (tmp_path / "own.json").write_text(json.dumps(config))
    assert train.main(["-c", str(tmp_path / "own.json")]) == 0 and stranger.imported()
    (run,) = (tmp_path / "own").iterdir()
    assert train.main(["-r", str(run)]) == 0 and stranger.imported()
    (run / "config.json").unlink()
    capsys.readouterr()
    for given in (run, run / "last.pth"):
        assert train.main(["-r", str(given)]) == 2
        assert "arch.type: 'strangers.Net' is outside the catalogue" in capsys.readouterr().err
        assert not stranger.imported()
    assert train.main(["-r", str(run), "--trust"]) == 0 and stranger.imported()
