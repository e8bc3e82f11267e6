"""Checkpoint files: atomic, verified, never executed."""

from __future__ import annotations

import os
import pickle
import random
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from utils.errors import CheckpointError, StorageError
from utils.run.checkpoint import link_or_copy, load_any, load_checkpoint, load_newest, save_checkpoint
from utils.system.rng import capture_rng, restore_rng


@pytest.fixture
def saved(tmp_path) -> Path:
    path = tmp_path / "last.pth"
    save_checkpoint(path, {"model": {"w": torch.arange(500.0)}, "epoch": 3, "names": ["a", None, 1.5]})
    return path


def test_round_trip_and_readable_by_other_tools(saved):
    state = load_checkpoint(saved)
    assert torch.equal(state["model"]["w"], torch.arange(500.0))
    assert state["names"] == ["a", None, 1.5]
    assert zipfile.ZipFile(saved).testzip() is None
    assert torch.load(saved, weights_only=True)["epoch"] == 3


@pytest.mark.slow
def test_every_bit_flip_is_detected(saved, tmp_path):
    content = saved.read_bytes()
    draw = random.Random(0)
    places = [*range(len(content) - 110, len(content)), *(draw.randrange(len(content)) for _ in range(200))]
    damaged = tmp_path / "damaged.pth"
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << draw.randrange(8)
        damaged.write_bytes(flipped)
        with pytest.raises(CheckpointError):
            load_checkpoint(damaged)


def test_every_truncation_is_detected(saved, tmp_path):
    content = saved.read_bytes()
    damaged = tmp_path / "damaged.pth"
    for length in [0, 1, 21, 22, 97, 98, 99, *range(100, len(content), 97), len(content) - 1]:
        damaged.write_bytes(content[:length])
        with pytest.raises(CheckpointError):
            load_checkpoint(damaged)


def test_falls_back_to_the_one_before(saved, tmp_path):
    previous = tmp_path / "previous.pth"
    save_checkpoint(saved, {"epoch": 4}, backup=previous)
    assert load_newest([saved, previous])[0]["epoch"] == 4
    saved.write_bytes(saved.read_bytes()[:-5])
    assert load_newest([saved, previous])[0]["epoch"] == 3
    saved.unlink()
    assert load_newest([saved, previous])[1] == previous
    previous.write_bytes(b"")
    with pytest.raises(CheckpointError, match="previous.pth"):
        load_newest([saved, previous])
    previous.unlink()
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_newest([saved, previous])


class _Hostile:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("place", ["top", "config", "model"])
@pytest.mark.parametrize("zipped", [True, False])
def test_hostile_content_is_never_executed(tmp_path, place, zipped):
    from utils.run import checkpoint

    canary, path = tmp_path / "canary", tmp_path / "evil.pth"
    evil = _Hostile(canary)
    content = {"top": evil, "config": {"format": 1, "config": [evil]}, "model": {"model": {"w": evil}}}[place]
    with path.open("w+b") as file:
        torch.save(content, file, _use_new_zipfile_serialization=zipped)
        if zipped:
            checkpoint._append_hash(file)  # the attacker knows the format
    with pytest.raises(CheckpointError):
        load_checkpoint(path)
    assert not canary.exists()


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps({"a": 1})])
def test_foreign_files(tmp_path, content):
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="x.pth"):
        load_checkpoint(path)
    torch.save({"model": {}}, path)  # a torch file, but not one of ours
    with pytest.raises(CheckpointError, match="not a checkpoint of this program"):
        load_checkpoint(path)


@pytest.mark.parametrize("value", [np.float64(1), np.zeros(2), Path("x"), {1, 2}, object()])
def test_what_could_not_be_loaded_safely_is_not_saved(saved, value):
    before = saved.read_bytes()
    with pytest.raises(TypeError, match=r"checkpoint\['a'\]\[0\]"):
        save_checkpoint(saved, {"a": [value]})
    assert saved.read_bytes() == before


def test_optimizer_state_is_plain(tmp_path):
    weight = torch.nn.Parameter(torch.zeros(3))
    adam = torch.optim.Adam([weight])
    weight.sum().backward()
    adam.step()
    save_checkpoint(tmp_path / "x.pth", {"optimizer": adam.state_dict(), "o": OrderedDict(a=torch.ones(1))})
    assert load_checkpoint(tmp_path / "x.pth")["optimizer"]["state"][0]["step"] == 1


@pytest.mark.slow
def test_full_disk_leaves_the_old_file(forks, saved):
    code = (
        "import sys, resource, signal, torch\n"
        "from utils.run.checkpoint import save_checkpoint; from utils.errors import StorageError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: save_checkpoint(sys.argv[1], {'w': torch.zeros(10**6)})\n"
        "except StorageError as error: sys.exit(error.exit_code)\n"
    )
    before = saved.read_bytes()
    done = forks.run(code, saved)
    assert done.returncode == 4, done.stderr
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == ["last.pth"]


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not be written"):
        save_checkpoint(tmp_path / "file" / "last.pth", {"a": 1})


def test_second_name(saved, tmp_path):
    best = tmp_path / "best.pth"
    best.write_text("old")
    link_or_copy(saved, best)
    save_checkpoint(saved, {"epoch": 9})
    assert load_checkpoint(best)["epoch"] == 3


def test_a_second_name_is_a_copy_where_links_do_not_exist(saved, tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    link_or_copy(saved, tmp_path / "best.pth")
    assert (tmp_path / "best.pth").read_bytes() == saved.read_bytes()
    with pytest.raises(StorageError, match="nowhere.*could not be written"):
        link_or_copy(saved, tmp_path / "nowhere" / "best.pth")


def test_weights_of_other_programs_are_read_and_our_own_verified_first(saved, tmp_path):
    foreign = tmp_path / "foreign.pth"
    torch.save({"state_dict": {"w": torch.ones(2)}}, foreign)
    assert torch.equal(load_any(foreign)["state_dict"]["w"], torch.ones(2))
    assert load_any(saved)["epoch"] == 3
    content = bytearray(saved.read_bytes())
    content[300] ^= 1
    saved.write_bytes(content)
    with pytest.raises(CheckpointError, match="does not match its hash"):
        load_any(saved)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("list.pth", [torch.ones(2)], "holds no weights by name"),
        ("net.onnx", {}, "is an exported model; give the checkpoint"),
        ("missing.pth", None, "no such checkpoint"),
        ("object.pth", {"w": Path("x")}, "more than tensors and plain types"),
    ],
)
def test_files_that_cannot_start_a_run_say_why(tmp_path, name, content, message):
    if content is not None:
        torch.save(content, tmp_path / name)
    with pytest.raises(CheckpointError, match=message):
        load_any(tmp_path / name)


def test_a_checkpoint_of_a_later_format_is_refused(tmp_path):
    save_checkpoint(tmp_path / "later.pth", {"format": 2, "model": {}})
    with pytest.raises(CheckpointError, match="not a checkpoint of format 1"):
        load_checkpoint(tmp_path / "later.pth")


_KILLER = """
import os, random, signal, sys, time
import torch
from pathlib import Path
from utils.run.checkpoint import load_newest, save_checkpoint
from utils.system.files import remove_leftovers
folder, draw, found = Path(sys.argv[1]), random.Random(0), []
last, previous = folder / "last.pth", folder / "previous.pth"
for attempt in range(20):
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        weights = torch.zeros(1_000_000)
        for number in range(10**9):
            weights.fill_(number)
            save_checkpoint(last, {"n": number, "w": weights}, backup=previous)
            os.write(writer, b".")
    os.read(reader, 1)  # the first save of this child is done; kill it during a later one
    time.sleep(draw.uniform(0, 0.1))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    state, _ = load_newest([last, previous])
    assert state["w"].unique().tolist() == [state["n"]]
    found.append(len(list(folder.glob(".*.tmp"))))
    remove_leftovers(folder)
    assert not list(folder.glob(".*.tmp"))
print(sum(found))
"""


@pytest.mark.slow
def test_kill_while_writing_at_20_random_moments(forks, tmp_path):
    done = forks.run(_KILLER, tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 5  # most kills did hit a half-written file


def test_random_state_round_trip(tmp_path):
    def draws():
        return random.random(), np.random.rand(), torch.rand(3).tolist()  # noqa: NPY002

    save_checkpoint(tmp_path / "x.pth", {"rng": capture_rng()})
    first = draws()
    restore_rng(load_checkpoint(tmp_path / "x.pth")["rng"])
    assert draws() == first


def test_a_disk_that_fills_while_a_name_is_copied_leaves_every_file(saved, tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(28, "No space left on device")

    best = tmp_path / "best.pth"
    best.write_text("old")
    before = {path: path.read_bytes() for path in (saved, best)}
    monkeypatch.setattr("os.link", refuse)
    monkeypatch.setattr("shutil.copyfile", refuse)
    with pytest.raises(StorageError, match="No space left on device"):
        save_checkpoint(saved, {"epoch": 4}, backup=tmp_path / "previous.pth", names=[best])
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
