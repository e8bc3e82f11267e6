"""Shared by all tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
# two test processes share two cores; torch reads this when it is imported, below
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def forks(tmp_path_factory):
    """Start of processes that import nothing again."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    from tests.forks import ForkServer

    server = ForkServer(tmp_path_factory.mktemp("forks"))
    yield server
    server.close()
