"""Best, numbered and last checkpoint agree when the process dies before any of its file operations."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# every run is a fork of a process that has not computed anything: fast, and a real kill by os._exit
_PROGRAM = """
import json, os, shutil, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import torch
torch.set_num_threads(1)
import torch._dynamo  # which the first step of every fork would import
from tests.parts import RandomBatches, make_trainer
from utils.run.checkpoint import load_checkpoint, load_newest
from utils.run.folder import RunFolder

work, links = Path(sys.argv[1]), sys.argv[3] == "links"
OPTIONS = {"epochs": 2, "save_period": 1, "keep_checkpoints": 1, "save_minutes": 0}
WRITES = {"os.rename", "os.link", "os.remove", "shutil.copyfile"}
count = log = limit = folder = None

def watch(event, args):
    global count
    if limit is None or not args or not str(args[0]).startswith(str(folder)):
        return
    writes = event == "open" and (args[2] or 0) & (os.O_WRONLY | os.O_RDWR)
    if writes or event in WRITES:
        if count == limit:
            os._exit(9)
        count += 1
        log.append(f"{event} {Path(str(args[event not in ('open', 'os.remove')])).name}")

sys.addaudithook(watch)
if not links:
    def refuse(source, target, **kwargs):
        raise PermissionError(1, "no links on this file system")
    os.link = refuse

def forked(job):
    child = os.fork()
    if not child:
        code = 1
        try:
            job()
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def summary(run):
    best, last = load_checkpoint(run / "best_model.pth"), load_checkpoint(run / "last.pth")
    assert best["epoch"] == last["monitor"]["best_epoch"] + 1
    numbered = sorted(path.name for path in run.glob("checkpoint-*.pth"))
    assert [load_checkpoint(run / name)["epoch"] for name in numbered] == [3], numbered
    weights = torch.cat([v.flatten().double() for v in last["model"].values()]).sum().item()
    return [best["epoch"], numbered, weights, [p.name for p in run.glob(".*.tmp")]]

def start(run, stop):
    global count, log, limit, folder
    run.mkdir()
    folder, count, log, limit = run, 0, [], stop
    trainer = make_trainer(run, train_loader=RandomBatches(1), val_loader=RandomBatches(1), **OPTIONS)
    trainer.train()
    limit = None
    (work / "log.json").write_text(json.dumps(log))

def resume(run):
    trainer = make_trainer(run, train_loader=RandomBatches(1), val_loader=RandomBatches(1), **OPTIONS)
    try:
        state, _ = load_newest([run / "last.pth", run / "previous.pth"])
        trainer.load_state_dict(state)
    except Exception as error:
        assert "no such checkpoint" in str(error), error
    trainer.train()
    (work / "summary.json").write_text(json.dumps(summary(run)))

whole = work / "whole"
assert forked(lambda: start(whole, 10**9)) == 0
operations = json.loads((work / "log.json").read_text())
expected = summary(whole)
bad = []
for number, operation in enumerate(operations):
    run = work / f"killed{number}"
    assert forked(lambda: start(run, number)) == 9, operation
    if forked(lambda: resume(run)) or json.loads((work / "summary.json").read_text()) != expected:
        bad.append([number, operation])
    shutil.rmtree(run)
print(json.dumps({"operations": operations, "bad": bad}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("links", ["links", "copies"])
def test_a_kill_before_any_file_operation_of_a_run_changes_nothing(tmp_path, links):
    command = [sys.executable, "-c", _PROGRAM, tmp_path, ROOT, links]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert len(result["operations"]) > 15
    assert {"os.rename best_model.pth", "os.rename last.pth"} <= set(result["operations"])
    assert result["bad"] == []
