"""The folder of a run."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time

import pytest

from utils.errors import ConfigError, StorageError
from utils.run.folder import RunFolder, checked_name, newest_run, open_run


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


@pytest.mark.parametrize(
    "damage",
    [
        b"hello\n",
        b"\xff\xfe\n",
        b"{}\n",
        b"3\n",
        b'{"epoch": "x"}\n',
        b"\0" * 40 + b"\n",
        b"[" * 9999 + b"\n",
    ],
)
def test_damaged_metrics_cost_a_warning_and_nothing_else(tmp_path, caplog, damage):
    run = RunFolder.create(tmp_path, "a")
    run.append_metrics({"epoch": 1})
    with run.metrics.open("ab") as file:
        file.write(damage)
    run.append_metrics({"epoch": 2})
    before = run.metrics.read_bytes()
    run.truncate_metrics(3)
    assert [json.loads(line)["epoch"] for line in run.metrics.read_text().splitlines()] == [1, 2]
    assert "metrics.jsonl: 1 lines cannot be read and are left out" in caplog.text
    assert (run.path / "metrics.damaged.jsonl").read_bytes() == before


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
    names = {
        f".0123abcd.{dead.pid}.tmp": False,
        f".0123abcd.{os.getpid()}.tmp": True,
        ".notes.tmp": True,  # a user's own
    }
    for name in names:
        (run.path / name).write_bytes(b"half")
    RunFolder(run.path).close()
    assert {name: (run.path / name).exists() for name in names} == names


def test_a_folder_in_use_is_refused_until_it_is_closed(tmp_path, monkeypatch):
    from utils.run import lock

    monkeypatch.setattr(lock, "fcntl", None)  # the portable lock holds within a process too
    run = RunFolder.create(tmp_path, "a")
    with pytest.raises(StorageError, match="another process"):
        RunFolder(run.path)
    run.close()
    run.close()  # twice does no harm
    RunFolder(run.path).close()


def test_numbered_checkpoints_sort_by_number_and_the_oldest_go_first(tmp_path):
    run = RunFolder.create(tmp_path, "a")
    for epoch in (9, 101, 10, 100):
        run.numbered(epoch).write_text(str(epoch))
    for other in (
        "checkpoint-epochX.pth",
        "checkpoint-epoch.pth",
        "checkpoint-epoch-3.pth",
        "checkpoint-epoch1_000.pth",
    ):
        (run.path / other).touch()  # copies and names of a user's own
    run.remove_numbered(0)
    assert [path.read_text() for path in run.all_numbered()] == ["9", "10", "100", "101"]
    run.remove_numbered(2)
    assert [path.name for path in run.all_numbered()] == [
        "checkpoint-epoch100.pth",
        "checkpoint-epoch101.pth",
    ]


def test_a_new_run_gets_its_config_and_a_log(tmp_path, caplog):
    handlers = list(logging.getLogger().handlers)
    with caplog.at_level(logging.INFO):
        run = open_run(str(tmp_path), "a", {"name": "a"}, None)
    for handler in set(logging.getLogger().handlers) - set(handlers):
        logging.getLogger().removeHandler(handler)
        handler.close()
    assert json.loads(run.config.read_text()) == {"name": "a"}
    assert f"Run folder: {run.path}" in run.log.read_text()


def test_a_check_of_an_old_run_changes_neither_its_config_nor_its_log(tmp_path):
    run = RunFolder.create(tmp_path, "a")
    run.close()
    run.config.write_text("{}")
    opened = open_run(str(tmp_path), "a", {"name": "changed"}, run.path, temporary=True)
    assert opened.path == run.path and run.config.read_text() == "{}" and not run.log.exists()


@pytest.mark.slow
def test_a_new_run_of_a_check_is_removed_when_the_process_ends(forks, tmp_path):
    code = (
        "import sys; from utils.run.folder import open_run\n"
        "run = open_run(sys.argv[1], 'a', {}, None, temporary=True); assert run.config.exists()"
    )
    assert forks.run(code, tmp_path).returncode == 0
    assert not list((tmp_path / "a").iterdir())
