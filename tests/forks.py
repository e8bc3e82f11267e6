"""Processes that need no import of torch: forks of one that has imported everything and computed nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

# a child leaves the loop and ends as any interpreter does: exit code, atexit, flushed streams
_SERVER = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import multiprocessing.synchronize, torch, torch._dynamo, torch.utils.serialization, torchvision, cv2, PIL.Image
import dataloaders, models, train, trainer
for line in sys.stdin:
    request = json.loads(line)
    if "wait" in request:
        pid, status = os.waitpid(request["wait"], request["options"])
        answer = os.waitstatus_to_exitcode(status) if pid else None
    else:
        answer = os.fork()
        if not answer:
            break
    print(json.dumps(answer), flush=True)
else:
    os._exit(0)
os.environ.clear()
os.environ.update(request["env"])
os.chdir(request["cwd"])
os.environ.clear()
os.environ.update(request["env"])
for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, request["stdout"], os.O_WRONLY)):
    os.dup2(os.open(path, flags), number)
os.dup2(os.open(request["stderr"], os.O_WRONLY | os.O_CREAT) if request["stderr"] else 1, 2)
sys.argv = ["-c", *request["argv"]]
exec(compile(request["code"], "<forked>", "exec"), {"__name__": "__main__"})
"""


class ForkedProcess:
    """The part of ``subprocess.Popen`` that tests need; ``stdout`` is a text file."""

    def __init__(self, server: ForkServer, pid: int, stdout: Path) -> None:
        self.pid, self.returncode = pid, None
        self.stdout = stdout.open(encoding="utf-8")  # waits until the process has opened it too
        self._server = server

    def poll(self) -> int | None:
        return self.wait(os.WNOHANG)

    def wait(self, options: int = 0) -> int | None:
        if self.returncode is None:
            self.returncode = self._server.ask(wait=self.pid, options=options)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self) -> str:
        """Read the output up to its end and wait for the process."""
        output = self.stdout.read()
        self.stdout.close()
        self.wait()
        return output


class ForkServer:
    """Starts programs in forks of one process.

    Args:
        folder: for the streams of the processes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[ForkedProcess] = []
        self._server: subprocess.Popen[str] | None = None

    def ask(self, **request: Any) -> Any:
        """Return the answer of the process that forks; the first question starts it."""
        if self._server is None:
            command = [sys.executable, "-c", _SERVER, str(ROOT)]
            self._server = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._server.stdin and self._server.stdout
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())

    def start(self, code: str, *argv: object, cwd: Path = ROOT, stderr: Path | None = None) -> ForkedProcess:
        """Start a program as ``python -c code argv`` in a folder; without ``stderr`` errors go to ``stdout``."""
        stdout = self._folder / f"{len(self._started)}.out"
        os.mkfifo(stdout)
        pid = self.ask(
            code=code, argv=[*map(str, argv)], cwd=str(cwd), env=dict(os.environ),
            stdout=str(stdout), stderr=stderr and str(stderr),
        )  # fmt: skip
        self._started.append(ForkedProcess(self, pid, stdout))
        return self._started[-1]

    def run(self, code: str, *argv: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        errors = self._folder / f"{len(self._started)}.err"
        process = self.start(code, *argv, cwd=cwd, stderr=errors)
        output = process.communicate()
        assert process.returncode is not None
        return subprocess.CompletedProcess(
            [code, *map(str, argv)], process.returncode, output, errors.read_text(encoding="utf-8")
        )

    def close(self) -> None:
        """End the process that forks, and those that a failed test has left."""
        if self._server is None:
            return
        for process in self._started:
            process.stdout.close()
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
                process.wait()
        self._server.communicate()
