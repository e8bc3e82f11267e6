"""The teacher that a config names: checkpoints, run folders, ONNX files, and refusals of one line each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.nn.functional import conv2d

import train
from models.build import build_model
from models.teacher import load_teacher
from tests.checkpoints import ARCH, make_info
from tests.experiments import experiment_of, problems_of
from tests.test_train import CONFIG
from utils.config.factory import Component
from utils.dataset_info import DatasetInfo, voc_palette
from utils.errors import SegwrightError
from utils.export.contract import ExportFacts
from utils.run.checkpoint import load_checkpoint, save_checkpoint

SHAPES = ("background", "circle", "square", "triangle")
INFO = DatasetInfo(SHAPES, tuple(voc_palette(4)))
REORDERED = DatasetInfo(SHAPES[::-1], tuple(voc_palette(4)), (0.4, 0.5, 0.6), (0.2, 0.2, 0.3))


def make_checkpoint(path: Path, info: DatasetInfo, seed: int = 0) -> Path:
    """Write a checkpoint of random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_model(Component.from_plain(ARCH, "arch"), info)
    save_checkpoint(path, {"model": model.state_dict(), "arch": ARCH, "dataset": info.to_plain()})
    return path


def config_of(model: Path | str, **teacher) -> dict:
    config = json.loads(json.dumps(CONFIG)) | {"teacher": {"model": str(model), **teacher}}
    for section in ("train_loader", "val_loader"):
        config[section]["args"] |= {"num_shapes": 3}
    return config


def load(model: Path | str, resumed=None):
    return load_teacher(experiment_of(config_of(model)), INFO, torch.device("cpu"), resumed)


def message(model: Path | str, resumed=None) -> str:
    with pytest.raises(SegwrightError) as caught:
        load(model, resumed)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("teacher.model: ")
    return str(caught.value)


def test_a_run_folder_teaches_like_its_best_checkpoint_and_draws_nothing(tmp_path):
    (tmp_path / "run").mkdir()
    make_checkpoint(tmp_path / "run" / "best_model.pth", INFO)
    state = torch.get_rng_state()
    teacher = load(tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), state)
    assert load(tmp_path / "run" / "best_model.pth", teacher.facts).facts == teacher.facts
    images = torch.randn(1, 3, 19, 21, generator=torch.Generator().manual_seed(0))
    assert teacher.logits(images).shape == (1, 4, 19, 21)
    assert load_teacher(experiment_of(CONFIG), INFO, torch.device("cpu")) is None


def test_what_cannot_teach_is_one_line(tmp_path):
    assert message(tmp_path / "none.pth").endswith("none.pth: no such file or folder")
    assert "there is no best_model.pth in this folder" in message(tmp_path)
    for name, text in {
        "program.pt2": "is a program; give the checkpoint or its ONNX file",
        "x.onnx": "x.onnx",
        "bad.pth": "is damaged, or not a checkpoint",
    }.items():
        (tmp_path / name).write_bytes(b"nothing")
        assert text in message(tmp_path / name)
    other = make_checkpoint(tmp_path / "other.pth", make_info(4))
    assert "it lacks background, circle, square, triangle and has c0" in message(other)
    (tmp_path / "own").mkdir()
    arch = {"type": "tests.parts.TinyNet", "args": {}}
    (tmp_path / "own" / "config.json").write_text(json.dumps({"arch": arch}))
    save_checkpoint(tmp_path / "own" / "best_model.pth", {"arch": arch})
    assert "outside the catalogue" in message(tmp_path / "own")
    recorded = {"teacher": {"model": "saved/a.pth", "sha256": "0" * 64}}
    assert "is not the file that this run has learned from" in message(other, recorded)


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"weight": 1}, "teacher.model: missing; teacher needs it"),
        ({"model": "a.pth", "weight": 0}, "teacher.weight: expected a number, above 0, got 0"),
        (
            {"model": "a.pth", "temperature": 0},
            "teacher.temperature: expected a number, between 0.1 and 100, got 0",
        ),
        ({"model": "a.pth", "temprature": 2}, "teacher.temprature: teacher has no such argument"),
        ("a.pth", "teacher: expected an object or null, got 'a.pth'"),
    ],
)
def test_mistakes_in_the_section_are_one_line(section, expected):
    (problem,) = problems_of(CONFIG | {"teacher": section})
    assert problem.startswith(expected)


def test_an_onnx_file_teaches(tmp_path):
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    weight = torch.randn(4, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    helper, sides = onnx.helper, ["n", 3, "h", "w"]
    node = helper.make_node("Conv", ["images", "weight"], ["logits"])
    graph = helper.make_graph(
        [node], "net",
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, sides)],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["n", 4, "h", "w"])],
        [onnx.numpy_helper.from_array(weight.numpy(), "weight")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, ExportFacts(REORDERED, 1, None, {"type": "UNet"}).to_strings())
    onnx.save(model, tmp_path / "t.onnx")
    images = torch.randn(2, 3, 9, 7, generator=torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(facts).view(3, 1, 1) for facts in ((0.4, 0.5, 0.6), (0.2, 0.2, 0.3)))
    own, scale = (torch.tensor(facts).view(3, 1, 1) for facts in (INFO.mean, INFO.std))
    expected = conv2d((images * scale + own - mean) / std, weight)[:, [3, 2, 1, 0]]
    torch.testing.assert_close(load(tmp_path / "t.onnx").logits(images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_run_learns_from_a_teacher_and_goes_on_with_the_same_file_only(tmp_path, capsys):
    teacher = make_checkpoint(tmp_path / "t.pth", REORDERED)
    config = config_of(teacher)
    config["trainer"] |= {"save_dir": str(tmp_path / "saved"), "epochs": 1}
    (tmp_path / "c.json").write_text(json.dumps(config))
    assert train.main(["-c", str(tmp_path / "c.json"), "--check", "--set", "name=check"]) == 0
    assert train.main(["-c", str(tmp_path / "c.json"), "--device", "cpu"]) == 0
    (folder,) = (tmp_path / "saved" / "tiny").iterdir()
    state = load_checkpoint(folder / "last.pth")
    assert state["teacher"]["model"] == str(teacher) and len(state["teacher"]["sha256"]) == 64
    record = json.loads((folder / "metrics.jsonl").read_text())["train"]
    assert record["loss"] == pytest.approx(record["loss_labels"] + record["loss_distillation"])
    capsys.readouterr()
    change = ["--resume", str(folder), "--set", "teacher.weight=2", "--device", "cpu"]
    assert train.main(change) == 2
    assert "teacher.weight: the run was started with None, now it says 2" in capsys.readouterr().err
    moved = ["--allow-change", "--set", f"teacher.model={teacher.rename(tmp_path / 'moved.pth')}"]
    moved += ["--set", "teacher.weight=3", "--set", "trainer.epochs=2", "--device", "cpu"]
    assert train.main(["--resume", str(folder), *moved]) == 0
    record = json.loads((folder / "metrics.jsonl").read_text().splitlines()[1])["train"]
    assert record["loss"] == pytest.approx(record["loss_labels"] + 3 * record["loss_distillation"])
    make_checkpoint(tmp_path / "moved.pth", REORDERED, seed=1)
    capsys.readouterr()
    assert train.main(["--resume", str(folder), "--extend", "3", "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert error.count("error: ") == 1 and "is not the file that this run has learned from" in error
