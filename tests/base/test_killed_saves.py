"""Best, numbered and last checkpoint agree when the process dies before any of its file operations."""

from __future__ import annotations

import json

import pytest

# a kill leaves the files as they are: they are copied before every operation, and os._exit kills before one
_PROGRAM = """
import json, os, shutil, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.parts import RandomBatches, make_trainer
from utils.run.checkpoint import load_checkpoint, load_newest

work, links = Path(sys.argv[1]), sys.argv[2] == "links"
OPTIONS = {"epochs": 2, "save_period": 1, "keep_checkpoints": 1, "save_minutes": 0}
WRITES = {"os.rename", "os.link", "os.remove", "shutil.copyfile"}
KILLED = "os.rename last.pth"
log = folder = kill = None
link = os.link

def watch(event, args):
    if log is None or not args or not str(args[0]).startswith(str(folder)):
        return
    writes = event == "open" and (args[2] or 0) & (os.O_WRONLY | os.O_RDWR)
    if writes or event in WRITES:
        operation(f"{event} {Path(str(args[event not in ('open', 'os.remove')])).name}")

def operation(name):
    global log
    if kill == name:
        os._exit(9)
    log, names = None, [*log, name]  # copying is no operation of the run
    if kill is None:
        copy(folder, work / f"killed{len(names) - 1}")
    log = names

def copy(source, target):
    target.mkdir()
    copied = {}
    for path in source.iterdir():
        inode = path.stat().st_ino
        if inode in copied:
            link(copied[inode], target / path.name)
        else:
            copied[inode] = shutil.copy2(path, target / path.name)

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
    global log, folder, kill
    run.mkdir()
    folder, log, kill = run, [], stop
    trainer = make_trainer(run, train_loader=RandomBatches(1), val_loader=RandomBatches(1), **OPTIONS)
    trainer.train()
    names, log = log, None
    (work / "log.json").write_text(json.dumps(names))

def resume(run):
    trainer = make_trainer(run, train_loader=RandomBatches(1), val_loader=RandomBatches(1), **OPTIONS)
    try:
        state, _ = load_newest([run / "last.pth", run / "previous.pth"])
        trainer.load_state_dict(state)
    except Exception as error:
        assert "no such checkpoint" in str(error), error
    trainer.train()
    trainer.run.close()
    return summary(run)

whole, really = work / "whole", work / "really"
assert forked(lambda: start(whole, None)) == 0
assert forked(lambda: start(really, KILLED)) == 9
operations = json.loads((work / "log.json").read_text())
like = work / f"killed{operations.index(KILLED)}"
kinds = [sorted(path.suffix for path in run.iterdir()) for run in (really, like)]
assert kinds[0] == kinds[1], kinds
expected = summary(whole)
bad = []
for run, name in [(really, KILLED), *((work / f"killed{n}", name) for n, name in enumerate(operations))]:
    try:
        found = resume(run)
    except Exception as error:
        found = repr(error)
    if found != expected:
        bad.append([run.name, name, found])
print(json.dumps({"operations": operations, "bad": bad}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("links", ["links", "copies"])
def test_a_kill_before_any_file_operation_of_a_run_changes_nothing(forks, tmp_path, links):
    done = forks.run(_PROGRAM, tmp_path, links)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert len(result["operations"]) > 15
    assert {"os.rename best_model.pth", "os.rename last.pth"} <= set(result["operations"])
    assert result["bad"] == []
