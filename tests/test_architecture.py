"""Imports run one way, importing a module does nothing else, and rooms stay small."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.architecture import (
    NEVER,
    arrows,
    files,
    floor_of,
    imported_modules,
    longest_files,
    longest_functions,
    main,
    module_of,
    room_of,
)
from tests.conftest import ROOT

PROGRAMS = {path.stem for path in ROOT.glob("*.py")}


@pytest.mark.slow
def test_every_room_imports_lower_layers_only():
    climbing = [f"{here} imports {there}" for here, there in arrows() if floor_of(there) >= floor_of(here)]
    assert not climbing


@pytest.mark.slow
def test_no_program_imports_another():
    for file in files():
        programs = {name for name in imported_modules(file) if name in PROGRAMS - {"trainer"}}
        assert not programs, f"{file} imports {programs}"


@pytest.mark.slow
@pytest.mark.parametrize("program", NEVER)
def test_a_program_does_without_rooms_that_it_does_not_need(program):
    reached, waiting = set(), [program]
    modules = {module_of(file): file for file in files()}
    while waiting:
        name = waiting.pop()
        if name in reached or name not in modules:
            continue
        reached.add(name)
        waiting += imported_modules(modules[name])
    rooms = {room_of(name) for name in reached}
    assert len(rooms) > 3 and not rooms & NEVER[program]


@pytest.mark.slow
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
def test_nothing_is_unfinished(words):
    for file in files():
        assert words not in file.read_text(encoding="utf-8"), file


@pytest.mark.slow
def test_functions_and_files_stay_small():
    assert [name for lines, name in longest_functions() if lines > 50] == []
    assert [name for lines, name in longest_files() if lines > 300] == []
    assert len((ROOT / "train.py").read_text(encoding="utf-8").splitlines()) <= 180


@pytest.mark.slow
def test_the_structure_can_be_printed(capsys):
    main()
    assert "0 of them not downward" in capsys.readouterr().out
