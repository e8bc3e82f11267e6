"""Facts in exported files."""

from __future__ import annotations

import pytest

from tests.checkpoints import make_info
from utils import __version__
from utils.errors import CheckpointError
from utils.export.contract import ExportFacts, exported_format

INFO = make_info(label_ids=(7, 8, 11, 33))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("m.onnx", "onnx"), ("a/M.ONNX", "onnx"), ("m.torchscript", "torchscript"), ("m.pt2", "torch-export"),
     ("m.pth", None), ("onnx", None)],
)  # fmt: skip
def test_the_ending_names_the_format(name, expected):
    assert exported_format(name) == expected


@pytest.mark.parametrize("crop_size", [None, 32, (32, 48)])
def test_facts_are_read_as_they_were_written(crop_size):
    arch = {"type": "UNet", "args": {"base_channels": 2}}
    facts = ExportFacts(INFO, 16, crop_size, arch, architecture_version=3)
    assert ExportFacts.from_strings(facts.to_strings(), "m") == facts
    assert facts.framework_version == __version__


def test_facts_that_are_malformed_are_one_line():
    strings = ExportFacts(INFO, 16, None, {"type": "UNet"}).to_strings()
    for name, text in (("classes", "[1"), ("palette", "[[0, 0, 0]]"), ("stride", '"x"'), ("arch", "3"),
                       ("architecture_version", "0"), ("architecture_version", '"2"')):  # fmt: skip
        with pytest.raises(CheckpointError, match=r"m\.onnx: the facts in the file are malformed"):
            ExportFacts.from_strings({**strings, name: text}, "m.onnx")


def test_missing_facts_are_named():
    strings = ExportFacts(INFO, 16, None, {"type": "UNet"}).to_strings()
    del strings["mean"], strings["arch"]
    with pytest.raises(
        CheckpointError, match=r"m\.onnx: carries no mean, arch; only models written by export\.py"
    ):
        ExportFacts.from_strings(strings, "m.onnx")


def test_files_written_before_there_were_architecture_versions_are_read():
    strings = ExportFacts(INFO, 16, None, {"type": "UNet"}, architecture_version=2).to_strings()
    del strings["architecture_version"]
    assert ExportFacts.from_strings(strings, "m.onnx").architecture_version is None
