"""The folder of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from utils.errors import ConfigError, StorageError
from utils.run.folder import RunFolder, checked_name, newest_run


@pytest.mark.parametrize("name", ["UNet", "a.b-c_1", "Größe", "x" * 200])
def test_good_names(name):
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "a\nb", "x" * 201, "\u2025/x", "a b"])
def test_names_that_could_lead_elsewhere(name, tmp_path):
    with pytest.raises(ConfigError, match="name: "):
        RunFolder.create(tmp_path / "saved", name)
    assert not list(tmp_path.rglob("*"))


def test_metrics_are_cut_where_a_resumed_run_starts(tmp_path):
    run = RunFolder.create(tmp_path, "a")
    for epoch in (1, 2, 3):
        run.append_metrics({"epoch": epoch})
    with run.metrics.open("a") as file:
        file.write('{"epoch": 4')  # a run that was killed while it wrote
    run.truncate_metrics(3)
    assert [json.loads(line)["epoch"] for line in run.metrics.read_text().splitlines()] == [1, 2]


def test_not_a_number_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        RunFolder.create(tmp_path, "a").append_metrics({"loss": float("nan")})


def test_newest_run_is_the_one_saved_last(tmp_path):
    assert newest_run(tmp_path, "a") is None
    first, second = (RunFolder.create(tmp_path, "a") for _ in range(2))
    assert newest_run(tmp_path, "a") is None  # neither has a checkpoint
    second.last.write_bytes(b"")
    time.sleep(0.01)
    first.previous.write_bytes(b"")
    assert newest_run(tmp_path, "a") == first.path


def test_leftovers_of_dead_writers_are_removed(tmp_path):
    run = RunFolder.create(tmp_path, "a")
    run.close()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = {f".last.pth.{dead.pid}.tmp": False, f".last.pth.{os.getpid()}.tmp": True}
    for name in names:
        (run.path / name).write_bytes(b"half")
    RunFolder(run.path).close()
    assert {name: (run.path / name).exists() for name in names} == names


def test_a_killed_process_leaves_no_lock(tmp_path):
    run = RunFolder.create(tmp_path, "a")
    run.close()
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); from utils.run.folder import RunFolder\n"
        "run = RunFolder(sys.argv[2]); print('locked', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, ROOT, run.path], stdout=subprocess.PIPE)
    holder.stdout.readline()
    with pytest.raises(StorageError, match="another process"):
        RunFolder(run.path)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    RunFolder(run.path).close()
