"""Exported files equal the network at every size, carry what inference needs, and open without this program."""

from __future__ import annotations

import json
import re
import shutil
import sys
import warnings
import zipfile
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
from tests.checkpoints import make_checkpoint, make_info
from tests.conftest import ROOT
from utils import __version__
from utils.errors import CheckpointError, ConfigError
from utils.export.compare import Parity, check_sizes, compare
from utils.export.contract import SUFFIXES, ExportFacts, exported_format
from utils.export.load import load_exported
from utils.run.checkpoint import load_checkpoint, save_checkpoint

FORMATS = ["onnx", "torchscript", "torch-export"]
INFO = make_info(label_ids=(7, 8, 11, 33))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """With average weights that differ from the last ones: those are what inference uses."""
    path = tmp_path_factory.mktemp("trained") / "best_model.pth"
    average = load_checkpoint(make_checkpoint(path, INFO, seed=3))["model"]
    state = load_checkpoint(make_checkpoint(path, INFO, crop_size=[32, 48]))
    save_checkpoint(path, {**state, "ema": average})
    return path


def need(format_name: str) -> None:
    if format_name == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(package)


@pytest.fixture(scope="module", params=FORMATS)
def exported(request, checkpoint) -> Path:
    need(request.param)
    path = checkpoint.parent / f"model{SUFFIXES[request.param]}"
    assert (
        export.main(["-m", str(checkpoint), "-f", request.param, "-o", str(path), "--size", "64", "17"]) == 0
    )
    return path


def run_alone(path: Path, images: torch.Tensor) -> np.ndarray:
    """What the file computes in the hands of its own runtime."""
    kind = exported_format(path)
    if kind == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return session.run(None, {"images": images.numpy()})[0]
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        program = torch.jit.load(str(path)) if kind == "torchscript" else torch.export.load(path).module()
        return program(images).numpy()


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 33, 47), (3, 16, 64), (1, 5, 130)])
def test_logits_are_those_of_the_average_weights(checkpoint, exported, size):
    model, facts = export.load(checkpoint)
    images = torch.randn(size[0], 3, *size[1:], generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model(images).logits.numpy()
        assert expected.std() > 0.01 or size[1:] == (1, 1)
    found = run_alone(exported, images)
    assert found.dtype == np.float32 and found.shape == (size[0], 4, *size[1:])
    np.testing.assert_allclose(found, expected, atol=1e-5 * max(1, np.abs(expected).max()))
    ours, carried = load_exported(exported, trust=True)
    np.testing.assert_array_equal(ours(images).logits.numpy(), found)
    assert carried.to_strings() == facts.to_strings()


def test_the_file_carries_the_facts(exported):
    facts = load_exported(exported, trust=True)[1]
    assert facts.info == INFO and facts.stride == 16 and facts.crop_size == (32, 48)
    assert facts.arch == {"type": "UNet", "args": {"base_channels": 2}}
    assert facts.framework_version == __version__


def test_the_file_holds_no_path_of_this_machine(exported):
    if zipfile.is_zipfile(exported):
        with zipfile.ZipFile(exported) as archive:
            content = b"".join(archive.read(name) for name in archive.namelist())
    else:
        content = exported.read_bytes()
    assert str(ROOT).encode() not in content and b"site-packages" not in content


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


def test_an_onnx_file_is_valid_and_dynamic(checkpoint, tmp_path):
    need("onnx")
    import onnx

    path = tmp_path / "m.onnx"
    assert export.main(["-m", str(checkpoint), "-o", str(path), "--opset", "20"]) == 0
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [entry.version for entry in model.opset_import if not entry.domain] == [20]
    for value, channels in ((model.graph.input[0], 3), (model.graph.output[0], 4)):
        sides = [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
        assert sides == ["batch", channels, "height", "width"]
    facts = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert facts["classes"] == list(INFO.classes) and facts["label_ids"] == [7, 8, 11, 33]
    assert facts["mean"] == [0.45] * 3 and facts["in_channels"] == 3


# ---- what cannot be exported ------------------------------------------------------------------------

FICKLE = """
from base import BaseModel
from torch import nn
from torch.nn.functional import avg_pool2d

class Fickle(BaseModel):
    stride = 4

    def __init__(self, num_classes: int, in_channels: int = 3, by: str = "branch"):
        super().__init__(num_classes, in_channels)
        self.layer = nn.Conv2d(in_channels, num_classes, 1)
        self.by = by

    def _forward(self, images):
        width = images.shape[-1]
        if self.by == "grid":
            return self.layer(avg_pool2d(images, 4))
        if self.by == "branch":
            return self.layer(images) * (2 if width > 60 else 1)
        return self.layer(images) + float(images.mean()) * int(width)
"""


def fickle(folder: Path, monkeypatch, by: str) -> Path:
    (folder / "fickle_models.py").write_text(FICKLE)
    monkeypatch.syspath_prepend(folder)
    from models.build import build_model
    from utils.config.factory import Component

    arch = {"type": "fickle_models.Fickle", "args": {"by": by}}
    draw = torch.Generator().manual_seed(0)
    weights = build_model(Component.from_plain(arch, "arch"), INFO).state_dict()
    weights = {
        name: torch.randn(value.shape, generator=draw) * (value.ndim > 1) for name, value in weights.items()
    }
    state = {"arch": arch, "dataset": INFO.to_plain(), "crop_size": None, "epoch": 1}
    save_checkpoint(folder / "f.pth", {**state, "model": weights})
    return folder / "f.pth"


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_network_that_decides_by_size_is_found_out(tmp_path, monkeypatch, capsys, format_name):
    need(format_name)
    path = fickle(tmp_path, monkeypatch, "branch")
    target = path.with_suffix(SUFFIXES[format_name])
    target.write_text("an older file")
    assert export.main(["-m", str(path), "-f", format_name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "was not written" in line and "1x1x1" in line and "--format" in line
    assert target.read_text() == "an older file"
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_network_that_cannot_be_recorded_is_one_line_with_a_remedy(tmp_path, monkeypatch, capsys):
    path = fickle(tmp_path, monkeypatch, "value")
    assert export.main(["-m", str(path), "-f", "torch-export"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot hold this network" in line and "--format torchscript" in line


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["-f", "torchscript", "-o", "{}/m.onnx"], 2, ".torchscript"),
        (["-f", "torchscript", "-o", "{}/file/m.torchscript"], 4, "could not be written"),
        (["-f", "torchscript", "--opset", "18"], 2, "--opset"),
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


def test_an_opset_that_cannot_be_reached_is_refused(checkpoint, tmp_path, capsys):
    need("onnx")
    assert export.main(["-m", str(checkpoint), "-o", str(tmp_path / "m.onnx"), "--opset", "99"]) == 2
    assert "--opset 99" in capsys.readouterr().err and not list(tmp_path.iterdir())


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


@pytest.mark.parametrize("mode", ["whole", "sliding", "multiscale"])
def test_masks_are_those_of_the_checkpoint_in_every_mode(checkpoint, exported, photos, tmp_path, mode):
    expected = infer([checkpoint], photos, tmp_path / "a", "--mode", mode)
    found = infer([exported], photos, tmp_path / "b", "--mode", mode)
    assert found.keys() == expected.keys() and len(expected) == 3
    for name, mask in expected.items():
        assert np.array_equal(found[name], mask)
    assert len(np.unique(expected["0.png"])) > 1
    summaries = [json.loads((tmp_path / folder / "summary.json").read_text()) for folder in "ab"]
    assert summaries[0]["class_shares"] == summaries[1]["class_shares"]


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


def test_an_exported_model_is_a_member_like_any_other(checkpoint, exported, photos, tmp_path):
    other = make_checkpoint(tmp_path / "other.pth", INFO, seed=1)
    expected = infer([checkpoint, other], photos, tmp_path / "a", "--mode", "whole", "--overlay")
    found = infer([other, exported], photos, tmp_path / "b", "--mode", "whole", "--overlay")
    for name, mask in expected.items():
        assert np.array_equal(found[name], mask)
    assert len(expected) == 3


def test_an_exported_model_is_evaluated_with_the_config_of_its_training(exported, tmp_path, capsys):
    from dataloaders import Shapes

    data = {"split": "val", "num_images": 3, "image_size": 40}
    loader = {"type": "Shapes", "args": {**data, "batch_size": 2, "val": True}}
    info = Shapes(batch_size=1, val=True, **data).info
    path = make_checkpoint(tmp_path / "s.pth", info, val_loader=loader)
    kind = exported_format(exported)
    model = tmp_path / f"s{exported.suffix}"
    assert export.main(["-m", str(path), "-f", str(kind)]) == 0
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"name": "t", "val_loader": loader}))
    common = ["-d", "cpu", "--precision", "fp32", "--trust", "--no-boundary"]
    assert evaluate.main(["-m", str(path), "-o", str(tmp_path / "a"), *common]) == 0
    assert evaluate.main(["-m", str(model), "-o", str(tmp_path / "b"), *common]) == 2
    assert "--config" in capsys.readouterr().err
    assert evaluate.main(["-m", str(model), "-o", str(tmp_path / "b"), "--config", str(config), *common]) == 0
    tables = [(tmp_path / folder / "confusion.csv").read_bytes() for folder in "ab"]
    assert tables[0] == tables[1]


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_network_with_a_grid_of_its_own_offers_it(photos, tmp_path, monkeypatch, format_name):
    """Multi-scale prediction resizes the coarse logits itself: the masks stay those of the checkpoint."""
    need(format_name)
    path = fickle(tmp_path, monkeypatch, "grid")
    assert export.main(["-m", str(path), "-f", format_name]) == 0
    model = load_exported(path.with_suffix(SUFFIXES[format_name]), trust=True)[0]
    images = torch.randn(1, 3, 30, 41)
    if format_name == "torch-export":  # one function only
        assert not hasattr(model, "forward_coarse")
    else:
        native = export.load(path)[0]
        assert model.stride == 4 and model.forward_coarse(images).logits.shape == (1, 4, 8, 11)
        torch.testing.assert_close(model.forward_coarse(images).logits, native.forward_coarse(images).logits)
    for mode in ("whole", "multiscale"):
        expected = infer([path], photos, tmp_path / f"a{mode}", "--mode", mode)
        found = infer(
            [path.with_suffix(SUFFIXES[format_name])], photos, tmp_path / f"b{mode}", "--mode", mode
        )
        for name, mask in expected.items():
            allowed = 0.1 if (format_name, mode) == ("torch-export", "multiscale") else 0
            assert (found[name] != mask).mean() <= allowed, mode
        assert len(np.unique(expected["0.png"])) > 1


def test_programs_are_not_opened_unasked(checkpoint, photos, tmp_path, capsys):
    for suffix in (".torchscript", ".pt2"):
        path = tmp_path / f"m{suffix}"
        path.write_bytes(b"anything")
        assert (
            inference.main(["-m", str(path), "-i", str(photos), "-o", str(tmp_path / "o"), "-d", "cpu"]) == 2
        )
        assert "--trust" in capsys.readouterr().err


def test_what_is_no_model_of_ours_is_one_line(checkpoint, photos, tmp_path, capsys):
    need("onnx")
    import onnx
    from onnx import TensorProto, helper

    shape = ["batch", 3, "height", "width"]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("images", "logits")]
    graph = helper.make_graph([helper.make_node("Relu", ["images"], ["logits"])], "g", ends[:1], ends[1:])
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / "foreign.onnx")
    for name, content in (
        ("damaged.onnx", b"x" * 99),
        ("damaged.torchscript", b"x" * 99),
        ("damaged.pt2", b"x"),
    ):
        (tmp_path / name).write_bytes(content)
    for name, words in (
        ("foreign.onnx", "export.py"),
        ("damaged.onnx", "damaged.onnx"),
        ("damaged.torchscript", "cannot be read"),
        ("damaged.pt2", "cannot be read"),
        ("missing.onnx", "no such"),
    ):
        arguments = ["-m", str(tmp_path / name), "-i", str(photos), "-o", str(tmp_path / "o"), "-d", "cpu"]
        assert vote.main([*arguments, "-m", str(checkpoint), str(tmp_path / name), "--trust"]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert words in line and name in line


def test_an_exported_file_is_no_checkpoint_to_train_from(exported, capsys):
    assert train.main(["--resume", str(exported)]) == 2
    assert "give the checkpoint" in capsys.readouterr().err


def test_onnxruntime_that_is_missing_is_named(tmp_path, monkeypatch):
    (tmp_path / "m.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"requirements/onnx\.txt"):
        load_exported(tmp_path / "m.onnx")


def test_facts_that_are_malformed_are_one_line():
    strings = ExportFacts(INFO, 16, None, {"type": "UNet"}).to_strings()
    assert ExportFacts.from_strings(strings, "m").info == INFO
    for name, text in (("classes", "[1"), ("palette", "[[0, 0, 0]]"), ("stride", '"x"'), ("arch", "3")):
        with pytest.raises(CheckpointError, match=r"m\.onnx: the facts in the file"):
            ExportFacts.from_strings({**strings, name: text}, "m.onnx")


def test_parity_tells_networks_apart():
    class Constant(torch.nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.value = value

        def forward(self, images):
            from base import SegmentationOutput

            return SegmentationOutput(
                torch.full((len(images), 2, *images.shape[-2:]), 5.0) + self.value * images
            )

    one, near, far = Constant(1), Constant(1 + 1e-6), Constant(1.01)
    assert compare(one, one, 1, (2, 3, 4)) == Parity(
        (2, 3, 4), 0.0, compare(one, near, 1, (2, 3, 4)).scale, 0
    )
    assert compare(one, near, 1, (2, 3, 4)).holds and not compare(one, far, 1, (2, 3, 4)).holds


def test_the_version_is_the_projects():
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()
