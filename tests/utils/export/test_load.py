"""Reading of exported models, and what is not opened."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from tests.checkpoints import make_info
from tests.utils.export.networks import make_small, need
from utils.errors import CheckpointError, ConfigError
from utils.export.contract import ExportFacts
from utils.export.load import OnnxModel, ProgramModel, _providers, load_exported

CPU = torch.device("cpu")


@pytest.mark.slow
def test_a_file_gives_the_logits_of_its_network_on_both_grids(written):
    model, facts = load_exported(written, trust=True)
    assert facts.info == make_info() and facts.stride == model.stride == 4
    native, images = make_small(), torch.randn(2, 3, 30, 41, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model(images).logits, native(images).logits)
    assert hasattr(model, "forward_coarse") is (written.suffix != ".pt2")  # torch.export records one function
    if hasattr(model, "forward_coarse"):
        assert model.forward_coarse(images).logits.shape == (2, 4, 8, 11)
        torch.testing.assert_close(model.forward_coarse(images).logits, native.forward_coarse(images).logits)


@pytest.mark.parametrize("suffix", [".torchscript", ".pt2"])
def test_programs_are_not_opened_unasked(tmp_path, suffix):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(b"anything")
    with pytest.raises(ConfigError, match="is a program.* give --trust"):
        load_exported(path)
    with pytest.raises(CheckpointError, match=rf"m\{suffix}: cannot be read \("):
        load_exported(path, trust=True)


def test_what_is_no_onnx_model_of_ours_is_one_line(tmp_path):
    need("onnx")
    import onnx
    from onnx import TensorProto, helper

    def save(name: str, *values: str) -> None:
        shape = ["batch", 3, "height", "width"]
        ends = [helper.make_tensor_value_info(value, TensorProto.FLOAT, shape) for value in values]
        graph = helper.make_graph([helper.make_node("Relu", values[:1], values[1:])], "g", ends[:1], ends[1:])
        opset = [helper.make_opsetid("", 18)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / name)

    save("bare.onnx", "images", "logits")
    save("foreign.onnx", "x", "y")
    (tmp_path / "damaged.onnx").write_bytes(b"x" * 99)
    for name, words in (
        ("bare.onnx", "carries no classes, .*export.py"),
        ("foreign.onnx", "takes x and returns y, not images and logits"),
        ("damaged.onnx", "is no ONNX file that can be run"),
        ("missing.onnx", "no such model"),
    ):
        with pytest.raises(CheckpointError, match=f"{name}: {words}") as caught:
            load_exported(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_missing_runtime_is_named(tmp_path, monkeypatch):
    (tmp_path / "m.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"needs onnxruntime: pip install -r requirements/onnx\.txt"):
        load_exported(tmp_path / "m.onnx")


def test_a_runtime_without_cuda_computes_on_the_cpu_and_says_so(caplog):
    names = ["CPUExecutionProvider"]
    runtime = SimpleNamespace(get_available_providers=lambda: names)
    assert _providers(runtime, CPU) == names and not caplog.records
    with caplog.at_level(logging.WARNING):
        assert _providers(runtime, torch.device("cuda", 1)) == names
    assert "the ONNX model runs on the CPU" in caplog.text
    names.append("CUDAExecutionProvider")
    first, second = _providers(runtime, torch.device("cuda", 1))
    assert first == ("CUDAExecutionProvider", {"device_id": 1}) and second == "CPUExecutionProvider"


@pytest.mark.slow
@pytest.mark.parametrize("written", ["onnx"], indirect=True)
@pytest.mark.parametrize(
    ("message", "kind"),
    [("Failed to allocate memory\nstack", MemoryError), ("bad node\nstack", RuntimeError)],
)
def test_errors_of_the_runtime_are_one_line_and_lack_of_memory_is_known(written, message, kind):
    def run(outputs, inputs):
        raise ValueError(message)

    model = OnnxModel(written, CPU)
    model.session = SimpleNamespace(run=run)
    with pytest.raises(kind, match=message.splitlines()[0]) as caught:
        model(torch.zeros(1, 3, 4, 4))
    assert "\n" not in str(caught.value)


def test_programs_compute_in_float32_whatever_surrounds_them():
    layer = nn.Conv2d(3, 2, 1).requires_grad_(False)
    model = ProgramModel(layer, {}).eval()
    images = torch.randn(1, 3, 5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images.bfloat16()).logits
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, layer(images.bfloat16().float()))


def test_an_onnx_file_whose_logits_do_not_fit_its_facts_is_refused(tmp_path):
    need("onnx")
    need("onnxruntime")
    import onnx
    from onnx import TensorProto, helper

    def save(classes: int, **changed: str):
        value = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, "h", "w"])
            for name in ("images", "logits")
        ]
        graph = helper.make_graph(
            [helper.make_node("Relu", ["images"], ["logits"])], "g", value[:1], value[1:]
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        facts = ExportFacts(make_info(classes), 4, 32, {"type": "UNet", "args": {}}).to_strings()
        helper.set_model_props(model, {**facts, **changed})
        onnx.save(model, tmp_path / "m.onnx")
        return tmp_path / "m.onnx"

    assert load_exported(save(3))[1].stride == 4
    with pytest.raises(
        CheckpointError, match=r"does not fit its facts: .* shape \(1, 3, 9, 8\), not \(1, 7, 9, 8\)"
    ):
        load_exported(save(7))
    for name, text in (("stride", "0"), ("stride", '"4"'), ("crop_size", '"x"'), ("crop_size", "[1, 2, 3]")):
        with pytest.raises(CheckpointError, match=f"the facts in the file are malformed: {name}"):
            load_exported(save(3, **{name: text}))


class Odd(nn.Module):
    """A program that is not what its facts say, by ``kind``."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, images: torch.Tensor) -> Any:
        if self.kind == "classes":
            return images[:, :2]
        if self.kind == "half":
            return images[:, :, ::2, ::2]
        if self.kind == "indices":
            return images.argmax(dim=1, keepdim=True).expand(-1, 3, -1, -1)
        if self.kind == "two":
            return images, images
        if self.kind == "fixed":
            return images + torch.zeros(1, 1, 75, 109)
        return images


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("classes", r"does not fit its facts: .* shape \(1, 2, 9, 8\), not \(1, 3, 9, 8\)"),
        ("half", r"does not fit its facts: .* shape \(1, 3, 5, 4\)"),
        ("indices", r"does not fit its facts: the logits are torch\.int64"),
        ("two", r"does not fit its facts \("),
        ("fixed", r"does not fit its facts \("),
    ],
)
@pytest.mark.parametrize("suffix", [".torchscript", pytest.param(".pt2", marks=pytest.mark.slow)])
def test_a_program_that_is_not_what_its_facts_say_is_refused_when_it_is_opened(tmp_path, suffix, kind, words):
    def save(kind: str) -> Path:
        path = tmp_path / f"{kind}{suffix}"
        facts = ExportFacts(make_info(3), 4, 32, {"type": "UNet", "args": {}}).to_strings()
        extra, example = {"metadata.json": json.dumps(facts)}, torch.zeros(2, 3, 75, 109)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if suffix == ".torchscript":
                torch.jit.save(torch.jit.trace(Odd(kind), example), path, _extra_files=extra)
            else:
                free = {
                    "images": {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO, 0: torch.export.Dim.AUTO}
                }
                torch.export.save(
                    torch.export.export(Odd(kind), (example,), dynamic_shapes=free), path, extra_files=extra
                )
        return path

    assert load_exported(save("right"), trust=True)[1].info == make_info(3)
    with pytest.raises(CheckpointError, match=words) as caught:
        load_exported(save(kind), trust=True)
    assert "\n" not in str(caught.value)
