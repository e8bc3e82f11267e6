"""Exit codes and messages of an entry script."""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from tests.conftest import ROOT
from utils.errors import ConfigError, Interrupted, SegwrightError, StorageError
from utils.run.checkpoint import load_checkpoint
from utils.system.cli import naming, require_ranges, run


def failing(error: BaseException):
    def main() -> int:
        raise error

    return main


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (1, 1)])
def test_the_result_of_the_work_is_the_exit_code(result, code, capsys):
    assert run(lambda: result) == code
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("loss.type: no loss called 'x'"), 2, "error: loss.type: no loss called 'x'"),
        (StorageError("a.pth: could not be written"), 4, "error: a.pth: could not be written"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.txt"), 4, "error: a.txt: No such file"),
        (PermissionError("plain words"), 4, "error: plain words"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (
            MemoryError(),
            2,
            "error: out of memory; lower batch_size, crop_size or window, or use fewer workers",
        ),
        (torch.OutOfMemoryError("CUDA"), 2, "error: out of memory; lower batch_size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you"), 2, "error: out of memory; lower"),
    ],
)
def test_an_error_that_the_user_can_correct_is_one_line(error, code, line, capsys):
    assert run(failing(error)) == code
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(line) and captured.err.count("\n") == 1
    if not isinstance(error, SegwrightError):
        return
    assert error.exit_code == code


@pytest.mark.parametrize("error", [ConfigError("x"), OSError("x"), KeyboardInterrupt(), MemoryError()])
def test_debugging_shows_every_traceback(error):
    with pytest.raises(type(error)):
        run(failing(error), debug=True)


def test_an_error_of_the_program_keeps_its_traceback():
    with pytest.raises(RuntimeError, match="shapes differ"):
        run(failing(RuntimeError("shapes differ")))


def test_every_mistake_of_a_config_names_the_file():
    with pytest.raises(ConfigError) as caught, naming("a.json"):
        raise ConfigError(["arch.type: missing", "loss.type: missing"])
    assert caught.value.problems == ["a.json: arch.type: missing", "a.json: loss.type: missing"]


class Dead(io.StringIO):
    """A stream whose terminal has been closed."""

    def write(self, text=""):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    flush = write


@pytest.mark.parametrize(
    ("error", "code"),
    [(Interrupted("stopped", signal.SIGHUP), 129), (ConfigError("x"), 2), (OSError("x"), 4)],
)
def test_a_closed_terminal_does_not_change_the_exit_code(error, code, monkeypatch):
    monkeypatch.setattr("sys.stderr", Dead())
    assert run(failing(error)) == code


TERMINAL = """
import os, pty, signal, sys, train
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
pid, terminal = pty.fork()
if not pid:
    sys.stdout, sys.stderr = (open(number, "w", buffering=1) for number in (1, 2))
    sys.exit(train.main())
shown = b""
while b"Epoch 1/" not in shown:
    shown += os.read(terminal, 4096)
os.close(terminal)  # as if its window were closed: the kernel sends SIGHUP, and writing to it fails
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


HANGS_UP = """
import os, pty, signal, sys
from utils.errors import Interrupted
from utils.system import cli
def work():
    os.write(ready[1], b"x")
    os.read(closed[0], 1)  # until the terminal has gone
    raise Interrupted("stopped", signal.SIGHUP)
ready, closed = os.pipe(), os.pipe()
pid, terminal = pty.fork()
if not pid:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.stdout, sys.stderr = (open(number, "w", buffering=1) for number in (1, 2))
    cli._print_error = lambda message: None  # the first write is that at exit
    code = cli.run(work)
    sys.stderr.write("bar")  # a progress bar that is deleted
    sys.exit(code)
os.read(ready[0], 1)
os.close(terminal)
os.write(closed[1], b"x")
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_write_at_exit_to_a_terminal_that_hung_up_leaves_the_exit_code(forks):
    done = forks.run(HANGS_UP)
    assert done.stdout == "129\n", done.stderr


@pytest.mark.slow
def test_a_run_whose_terminal_is_closed_saves_and_exits_with_129(forks, tmp_path):
    data = {"type": "Shapes", "args": {"split": "train", "num_images": 9, "image_size": 16, "batch_size": 2}}
    config = {
        "name": "t", "arch": {"type": "UNet", "args": {"base_channels": 2}}, "train_loader": data,
        "optimizer": {"type": "SGD", "args": {"lr": 0.01}},
        "trainer": {"epochs": 10_000, "val": False, "tensorboard": False, "save_dir": str(tmp_path)},
    }  # fmt: skip
    (tmp_path / "c.json").write_text(json.dumps(config))
    done = forks.run(TERMINAL, "-c", tmp_path / "c.json", "-d", "cpu")
    assert done.stdout == "129\n", done.stderr
    assert load_checkpoint(next(tmp_path.glob("t/*/last.pth")))["epoch"] >= 1


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -1.0, 3.5, 10**400])
def test_a_number_out_of_range_names_the_option(wrong):
    args = argparse.Namespace(max_pixels=None, two_words=[1.0, wrong])
    with pytest.raises(ConfigError, match="--two-words .*between 0 and 3 is expected"):
        require_ranges(args, max_pixels=(1, 9), two_words=(0, 3))
    args.two_words = [0, 3]
    require_ranges(args, max_pixels=(1, 9), two_words=(0, 3))


@pytest.mark.parametrize(
    "script",
    [
        "train",
        "inference",
        "vote",
        "evaluate",
        "png2rle",
        "init_config",
        "check_data",
        "export",
        "tools.show_batch",
    ],
)
def test_every_script_has_a_version(script, capsys):
    with pytest.raises(SystemExit) as caught:
        importlib.import_module(script).main(["--version"])
    assert caught.value.code == 0 and capsys.readouterr().out.startswith("Segwright 0.")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="libgomp of torch's Linux wheels")
@pytest.mark.parametrize(("given", "spins"), [({}, 0), ({"OMP_WAIT_POLICY": "ACTIVE"}, 30_000_000_000)])
def test_threads_sleep_while_they_wait_unless_the_user_says_otherwise(given, spins):
    kept = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    code = "from utils.system import cli; cli.run(lambda: __import__('torch') and None)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env=kept | given | {"OMP_DISPLAY_ENV": "VERBOSE"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"GOMP_SPINCOUNT = '{spins}'" in done.stderr
