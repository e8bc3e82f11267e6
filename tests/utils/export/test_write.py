"""Writing of networks: valid files, and one line for every network that no file can hold."""

from __future__ import annotations

import json
import logging
import sys
import warnings
import zipfile

import pytest
import torch

from tests.checkpoints import make_info
from tests.conftest import ROOT
from tests.utils.export.networks import facts_of, make_small, need
from utils.errors import ConfigError, ExportError
from utils.export import write
from utils.export.compare import check_sizes, compare
from utils.export.load import load_exported
from utils.export.write import check_packages, quiet, write_model


def test_a_file_holds_no_path_of_this_machine(written):
    content = written.read_bytes()
    if zipfile.is_zipfile(written):
        with zipfile.ZipFile(written) as archive:
            content = b"".join(archive.read(name) for name in archive.namelist())
    assert str(ROOT).encode() not in content and b"site-packages" not in content


@pytest.mark.slow
@pytest.mark.parametrize("written", ["onnx"], indirect=True)
def test_an_onnx_file_is_valid_and_dynamic(written):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(written)
    onnx.checker.check_model(model, full_check=True)
    assert [entry.version for entry in model.opset_import if not entry.domain] == [20]
    names = ["images", "logits", "coarse_logits"]
    sides = [("height", "width"), ("height", "width"), ("coarse_height", "coarse_width")]
    values = [*model.graph.input, *model.graph.output]
    assert [value.name for value in values] == names
    for value, channels, (height, width) in zip(values, (3, 4, 4), sides, strict=True):
        shape = [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
        assert shape == ["batch", channels, height, width]
    carried = {entry.key: entry.value for entry in model.metadata_props}
    assert carried == facts_of(make_info()).to_strings()
    assert json.loads(carried["classes"]) == ["c0", "c1", "c2", "c3"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format_name", "opset", "by", "message"),
    [
        ("onnx", 99, "grid", "--opset 99: this network could only be written with"),
        (
            "torch-export",
            None,
            "value",
            r"--format torch-export cannot hold this network \(.*try --format torchscript",
        ),
        ("onnx", None, "value", r"--format onnx cannot hold this network \(.*try --format torchscript"),
    ],
)
def test_what_a_format_cannot_hold_is_one_line_with_a_remedy(tmp_path, format_name, opset, by, message):
    need(format_name)
    with pytest.raises(ExportError, match=message) as caught:
        write_model(make_small(by), 3, tmp_path / "m", format_name, {}, opset)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("opset", [11, 17])
def test_old_operators_are_traced_and_give_the_same_logits(tmp_path, opset):
    need("onnx")
    import onnx

    network, path = make_small(), tmp_path / "m.onnx"
    write_model(network, 3, path, "onnx", facts_of(make_info()).to_strings(), opset)
    model = onnx.load(path)
    assert [entry.version for entry in model.opset_import if not entry.domain] == [opset]
    assert str(ROOT).encode() not in path.read_bytes()  # no path of this machine
    exported, facts = load_exported(path)
    assert facts.info == make_info() and hasattr(exported, "forward_coarse")
    for shape in check_sizes(network.stride):
        assert compare(network, exported, 3, shape).holds


@pytest.mark.slow
def test_weights_beyond_a_protocol_buffer_are_refused(tmp_path, monkeypatch):
    need("onnx")
    monkeypatch.setattr(write, "_LARGEST_ONNX", 4 * 3 * 4)
    with pytest.raises(ExportError, match="a single ONNX file holds 2; use --format torch-export"):
        write_model(make_small(), 3, tmp_path / "m.onnx", "onnx", {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_its_requirements(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"needs {package}: pip install -r requirements/onnx\.txt"):
        check_packages("onnx")
    check_packages("torchscript")


def test_a_torch_that_cannot_record_free_sizes_is_named(monkeypatch):
    monkeypatch.setattr(write, "_dynamic_options", dict)
    for format_name in ("onnx", "torch-export"):
        with pytest.raises(
            ConfigError, match=rf"--format {format_name}: torch {torch.__version__[0]}.*upgrade"
        ):
            check_packages(format_name)
    check_packages("torchscript")


def test_torch_is_silent_only_within(capsys):
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    with quiet():
        warnings.warn("inside", stacklevel=1)
        logger.error("inside")
        print("inside", file=sys.stderr)
    assert capsys.readouterr().err == "" and logger.level == before
    with pytest.warns(UserWarning, match="outside"):
        warnings.warn("outside", stacklevel=1)
