"""The command export.py, and predicting and evaluating with what it wrote."""

from __future__ import annotations

import json
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import evaluate
import export
import inference
import train
import vote
from models import UNet
from models.blocks import conv_bn_relu
from tests.checkpoints import make_checkpoint, make_info
from tests.conftest import ROOT
from tests.utils.export.networks import FORMATS, need, small_checkpoint
from utils import __version__
from utils.export.compare import check_sizes
from utils.export.contract import SUFFIXES, ExportFacts, exported_format
from utils.export.load import ExportedModel, load_exported
from utils.predict.options import PredictOptions
from utils.predict.predictor import Predictor
from utils.run.checkpoint import load_checkpoint, save_checkpoint

INFO = make_info(label_ids=(7, 8, 11, 33))


@pytest.fixture(scope="module", autouse=True)
def one_convolution_a_level():
    """Exporting takes time in proportion to the layers, of which U-Net has every one twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.unet._double", lambda before, after: conv_bn_relu(before, after))
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """With average weights that differ from the last ones: those are what inference uses."""
    path = tmp_path_factory.mktemp("trained") / "best_model.pth"
    average = load_checkpoint(make_checkpoint(path, INFO, seed=3))["model"]
    state = load_checkpoint(make_checkpoint(path, INFO, crop_size=[32, 48], facts={"flip": True}))
    save_checkpoint(path, {**state, "ema": average})
    return path


@pytest.fixture(scope="module", params=FORMATS)
def exported(request, checkpoint) -> Path:
    need(request.param)
    path = checkpoint.parent / f"model{SUFFIXES[request.param]}"
    arguments = ["-m", str(checkpoint), "-f", request.param, "-o", str(path), "--size", "64", "17"]
    assert export.main(arguments) == 0
    return path


@pytest.fixture(scope="module")
def opened(exported) -> tuple[ExportedModel, ExportFacts]:
    """The exported model, read once."""
    return load_exported(exported, trust=True)


def alone(path: Path) -> Callable[[torch.Tensor], np.ndarray]:
    """Open a file by its own runtime, without this program."""
    kind = exported_format(path)
    if kind == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return lambda images: session.run(None, {"images": images.numpy()})[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.jit.load(str(path)) if kind == "torchscript" else torch.export.load(path).module()

    def run(images: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            return program(images).numpy()

    return run


@pytest.mark.slow
def test_logits_are_those_of_the_average_weights(checkpoint, exported, opened):
    model, facts = export.load(checkpoint)
    runtime = alone(exported)
    draw = torch.Generator().manual_seed(1)
    for batch, height, width in [(1, 1, 1), (2, 33, 47), (3, 16, 64), (1, 5, 130)]:
        images = torch.randn(batch, 3, height, width, generator=draw)
        with torch.inference_mode():
            expected = model(images).logits.numpy()
        assert expected.std() > 0.01 or height == width == 1
        found = runtime(images)
        assert found.dtype == np.float32 and found.shape == (batch, 4, height, width)
        np.testing.assert_allclose(found, expected, atol=1e-5 * max(1, np.abs(expected).max()))
        np.testing.assert_array_equal(opened[0](images).logits.numpy(), found)
    assert opened[1].to_strings() == facts.to_strings()


def test_the_file_carries_the_facts(opened):
    _, facts = opened
    assert facts.info == INFO and facts.stride == 16 and facts.crop_size == (32, 48)
    assert facts.flip is True
    assert facts.arch == {"type": "UNet", "args": {"base_channels": 2}}
    assert facts.framework_version == __version__
    assert facts.architecture_version == 1  # of a checkpoint that records none


def test_the_facts_have_the_architecture_version_of_the_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(UNet, "architecture_version", 2)
    path = make_checkpoint(tmp_path / "m.pth", facts={"architecture_version": 2})
    assert export.load(path)[1].architecture_version == 2


@pytest.mark.slow
def test_the_table_says_equal(checkpoint, tmp_path, capsys):
    assert (
        export.main(
            ["-m", str(checkpoint.parent), "-f", "torchscript", "-o", str(tmp_path / "m.torchscript")]
        )
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert (
        sum(line.endswith("equal") for line in lines) == len(check_sizes(16)) and "m.torchscript" in lines[-1]
    )
    assert [path.name for path in tmp_path.iterdir()] == ["m.torchscript"]


# ---- what cannot be exported ------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("format_name", FORMATS)
def test_a_network_that_decides_by_size_is_found_out(tmp_path, capsys, format_name):
    need(format_name)
    path = small_checkpoint(tmp_path / "f.pth", INFO, "branch")
    target = path.with_suffix(SUFFIXES[format_name])
    target.write_text("an older file")
    assert export.main(["-m", str(path), "-f", format_name, "--trust"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "was not written" in line and "1x1x1" in line and "--format" in line
    assert target.read_text() == "an older file"
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.slow
def test_a_network_that_cannot_be_recorded_is_one_line_with_a_remedy(tmp_path, capsys):
    path = small_checkpoint(tmp_path / "f.pth", INFO, "value")
    assert export.main(["-m", str(path), "-f", "torch-export", "--trust"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot hold this network" in line and "--format torchscript" in line


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["-f", "torchscript", "-o", "{}/m.onnx"], 2, ".torchscript"),
        (["-f", "torchscript", "-o", "{}/file/m.torchscript"], 4, "could not be written"),
        (["-f", "torchscript", "--opset", "18"], 2, "--opset"),
        (["--opset", "10"], 2, "--opset 10: between 11 and 100 is expected"),
        (["-f", "torchscript", "--size", "3"], 2, "--size"),
        (["-m", "{}/missing.pth"], 2, "missing.pth"),
        (["-m", "{}"], 2, "best_model.pth"),
        (["-m", "{}/bad.onnx"], 2, "exported model"),
    ],
)
def test_wrong_options_are_one_line(checkpoint, tmp_path, capsys, options, code, words):
    for name in ("file", "bad.onnx"):
        (tmp_path / name).write_text("x")
    arguments = ["-m", str(checkpoint), *(option.format(tmp_path) for option in options)]
    assert export.main(arguments) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert {path.name for path in tmp_path.iterdir()} == {"file", "bad.onnx"}


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_before_any_work(checkpoint, monkeypatch, capsys, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert export.main(["-m", str(checkpoint)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert package in line and "requirements/onnx.txt" in line


# ---- inference from exported files ------------------------------------------------------------------


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number, (height, width) in enumerate([(70, 50), (33, 97), (1, 1)]):
        draw = np.random.default_rng(number)
        Image.fromarray(draw.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(
            folder / f"{number}.png"
        )
    return folder


def infer(models: list[Path], photos: Path, output: Path, *options: str) -> dict[str, np.ndarray]:
    names = [str(path) for path in models]
    arguments = ["-m", *names, "-i", str(photos), "-o", str(output), "-d", "cpu", "--trust", *options]
    assert inference.main([*arguments, "--precision", "fp32"]) == 0
    masks = {}
    for path in sorted(output.glob("*.png")):
        with Image.open(path) as mask:
            masks[path.name] = np.array(mask)
    return masks


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["whole", "sliding", "multiscale"])
def test_masks_are_those_of_the_checkpoint_in_every_mode(checkpoint, opened, photos, mode):
    options = PredictOptions(mode=mode, window=(32, 48))
    expected, found = (
        Predictor(model, INFO, options=options) for model in (export.load(checkpoint)[0], opened[0])
    )
    for path in sorted(photos.iterdir()):
        with Image.open(path) as photo:
            image = np.array(photo)
        mask = expected.predict(image)
        assert np.array_equal(found.predict(image), mask)
        assert len(np.unique(mask)) > 1 or mask.size == 1


@pytest.mark.slow
@pytest.mark.parametrize("exported", ["onnx"], indirect=True)
def test_the_documented_program_is_all_that_an_onnx_file_needs(exported, photos, tmp_path, monkeypatch):
    text = (ROOT / "docs" / "inference.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    shutil.copy(exported, tmp_path / "model.onnx")
    shutil.copy(photos / "0.png", tmp_path / "photo.jpg")  # a PNG by its content: nothing is lost
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "docs/inference.md", "exec"), {})
    expected = infer([exported], photos, tmp_path / "out", "--mode", "whole")["0.png"]
    with Image.open(tmp_path / "mask.png") as mask:
        assert np.array_equal(np.array(mask), expected) and mask.getpalette()[3:6] == [128, 0, 0]


@pytest.mark.slow
def test_an_exported_model_is_a_member_like_any_other(checkpoint, exported, photos, tmp_path):
    other = make_checkpoint(tmp_path / "other.pth", INFO, seed=1)
    expected = infer([checkpoint, other], photos, tmp_path / "a", "--mode", "whole", "--overlay")
    found = infer([other, exported], photos, tmp_path / "b", "--mode", "whole", "--overlay")
    for name, mask in expected.items():
        assert np.array_equal(found[name], mask)
    assert len(expected) == 3
    summaries = [json.loads((tmp_path / folder / "summary.json").read_text()) for folder in "ab"]
    assert summaries[0]["class_shares"] == summaries[1]["class_shares"]


@pytest.mark.slow
@pytest.mark.parametrize("exported", ["torchscript"], indirect=True)
def test_an_exported_model_is_evaluated_with_the_config_of_its_training(
    checkpoint, exported, photos, tmp_path, capsys
):
    data = tmp_path / "data"
    shutil.copytree(photos, data / "images")
    (data / "masks").mkdir()
    for path in photos.iterdir():
        with Image.open(path) as photo:
            mask = np.random.default_rng(0).integers(0, 4, photo.size[::-1], dtype=np.uint8)
        Image.fromarray(mask).save(data / "masks" / path.name)
    args = {
        "data_dir": str(data),
        "classes": list(INFO.classes),
        "split": "all",
        "batch_size": 2,
        "val": True,
    }
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"name": "t", "val_loader": {"type": "Folder", "args": args}}))
    common = ["-d", "cpu", "--precision", "fp32", "--trust", "--no-boundary"]
    assert evaluate.main(["-m", str(exported), "-o", str(tmp_path / "b"), *common]) == 2
    assert "--config" in capsys.readouterr().err
    for model, folder in ((checkpoint, "a"), (exported, "b")):
        arguments = ["-m", str(model), "-o", str(tmp_path / folder), "--config", str(config), *common]
        assert evaluate.main(arguments) == 0, capsys.readouterr().err
    tables = [(tmp_path / folder / "confusion.csv").read_bytes() for folder in "ab"]
    assert tables[0] == tables[1]


@pytest.mark.slow
@pytest.mark.parametrize("format_name", FORMATS)
def test_a_network_with_a_grid_of_its_own_predicts_the_same_masks(photos, tmp_path, format_name):
    """Multi-scale prediction resizes the coarse logits itself, where the format holds them."""
    need(format_name)
    path = small_checkpoint(tmp_path / "f.pth", INFO, "grid")
    assert export.main(["-m", str(path), "-f", format_name, "--trust"]) == 0
    for mode in ("whole", "multiscale"):
        expected = infer([path], photos, tmp_path / f"a{mode}", "--mode", mode)
        found = infer(
            [path.with_suffix(SUFFIXES[format_name])], photos, tmp_path / f"b{mode}", "--mode", mode
        )
        for name, mask in expected.items():
            allowed = 0.1 if (format_name, mode) == ("torch-export", "multiscale") else 0
            assert (found[name] != mask).mean() <= allowed, mode
        assert len(np.unique(expected["0.png"])) > 1


@pytest.mark.parametrize(
    ("name", "words"),
    [("m.pt2", "--trust"), ("damaged.onnx", "is no ONNX file"), ("missing.onnx", "no such")],
)
def test_what_cannot_be_opened_is_one_line(checkpoint, photos, tmp_path, capsys, name, words):
    need("onnx")
    path = tmp_path / name
    if not name.startswith("missing"):
        path.write_bytes(b"x" * 99)
    arguments = ["-i", str(photos), "-o", str(tmp_path / "o"), "-d", "cpu"]
    for command, models in ((inference, [path]), (vote, [checkpoint, path])):
        assert command.main(["-m", *map(str, models), *arguments]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert words in line and name in line


def test_an_exported_file_is_no_checkpoint_to_train_from(exported, capsys):
    assert train.main(["--resume", str(exported)]) == 2
    assert "give the checkpoint" in capsys.readouterr().err
