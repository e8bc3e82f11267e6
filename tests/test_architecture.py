"""Imports run one way, and importing a module does nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

ROOMS = (*sorted(path.stem for path in ROOT.glob("*.py")), "dataloaders", "models", "base", "utils")
FORBIDDEN = {
    "utils": {"base", "models", "dataloaders", "trainer", "train", "inference", "evaluate"},
    "base": {"models", "dataloaders", "trainer", "train", "inference", "evaluate"},
    "models": {"dataloaders", "trainer", "train", "inference", "evaluate"},
    "dataloaders": {"models", "trainer", "train", "inference", "evaluate"},
    "trainer": {"models", "dataloaders", "train", "inference", "evaluate"},
    "inference": {"dataloaders", "trainer", "train"},
    "export": {"dataloaders", "trainer", "train"},
    "vote": {"dataloaders", "trainer", "train"},
    "png2rle": {"dataloaders", "trainer", "train", "models", "base"},
    "evaluate": {"trainer", "train"},
}


def files(room: str) -> list[Path]:
    single = ROOT / f"{room}.py"
    return [single] if single.exists() else sorted((ROOT / room).rglob("*.py"))


def imported(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("room", FORBIDDEN)
def test_imports_run_one_way(room):
    assert files(room)
    for file in files(room):
        assert not imported(file) & FORBIDDEN[room], file


def test_catalogues_import_nothing_heavy_and_change_nothing():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import logging, random, torch, numpy\n"
        "state = random.getstate(), torch.get_rng_state().sum().item(), torch.get_num_threads()\n"
        "import dataloaders, models, trainer, utils.losses\n"
        "now = random.getstate(), torch.get_rng_state().sum().item(), torch.get_num_threads()\n"
        "assert state == now and not logging.getLogger().handlers\n"
        "heavy = {'torchvision', 'tensorboard', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code, ROOT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", ["except:", "TODO", "FIXME"])
def test_nothing_unfinished(words):
    for room in ROOMS:
        for file in files(room):
            assert words not in file.read_text(encoding="utf-8"), file
