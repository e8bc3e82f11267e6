"""Shared by the tests of exporting."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checkpoints import make_info
from tests.utils.export.networks import FORMATS, facts_of, make_small, need
from utils.export.contract import SUFFIXES
from utils.export.write import write_model


@pytest.fixture(scope="session", params=FORMATS)
def written(request, tmp_path_factory) -> Path:
    """File of a small network with a grid of its own, in every format; ONNX with opset 20."""
    need(request.param)
    path = tmp_path_factory.mktemp("written") / f"small{SUFFIXES[request.param]}"
    metadata = facts_of(make_info()).to_strings()
    write_model(make_small(), 3, path, request.param, metadata, 20 if request.param == "onnx" else None)
    return path
