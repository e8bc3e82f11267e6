"""One process at a time in a run folder, with and without fcntl."""

from __future__ import annotations

import errno
import logging
import os
import socket
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from utils.errors import StorageError
from utils.run import lock
from utils.run.lock import lock_folder

HOLDER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from utils.run import lock
if sys.argv[3] == "portable":
    lock.fcntl = None
release = lock.lock_folder(Path(sys.argv[2]))
print("locked", flush=True)
time.sleep(60)
"""


@pytest.fixture(params=["posix", "portable"])
def way(request, monkeypatch):
    """The lock of this system, and the one of a system without fcntl."""
    if request.param == "portable":
        monkeypatch.setattr(lock, "fcntl", None)
    return request.param


def test_another_process_is_refused_until_the_first_one_dies(tmp_path, way):
    command = [sys.executable, "-c", HOLDER, str(ROOT), str(tmp_path), way]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "locked\n"
            with pytest.raises(StorageError, match="another process is training in this folder") as caught:
                lock_folder(tmp_path)
            assert f": process {holder.pid} on {socket.gethostname()}, since 20" in str(caught.value)
        finally:
            holder.kill()
    lock_folder(tmp_path)()


@pytest.mark.parametrize("content", [None, b"", b"\xff\0\n"])
def test_a_holder_that_is_not_known_is_not_named(tmp_path, monkeypatch, content):
    monkeypatch.setattr(lock, "fcntl", None)
    release = lock_folder(tmp_path)
    (tmp_path / ".lock-holder").unlink()
    if content is not None:
        (tmp_path / ".lock-holder").write_bytes(content)
    with pytest.raises(StorageError, match=r"training in this folder$"):
        lock_folder(tmp_path)
    release()


def test_a_released_folder_can_be_locked_again(tmp_path, way):
    lock_folder(tmp_path)()
    lock_folder(tmp_path)()


def test_without_fcntl_a_second_lock_of_the_same_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "fcntl", None)
    release = lock_folder(tmp_path)
    with pytest.raises(StorageError, match="another process"):
        lock_folder(tmp_path)
    release()
    lock_folder(tmp_path)()


def test_a_missing_folder_cannot_be_locked(tmp_path):
    with pytest.raises(StorageError, match="nowhere: cannot be written"):
        lock_folder(tmp_path / "nowhere")


def test_without_any_means_of_locking_one_line_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(lock, "fcntl", None)
    monkeypatch.setitem(sys.modules, "filelock", None)  # as if it were not installed
    with caplog.at_level(logging.WARNING):
        releases = [lock_folder(tmp_path), lock_folder(tmp_path)]
    assert len(caplog.messages) == 2 and "is not locked (neither fcntl nor filelock" in caplog.messages[0]
    for release in releases:
        release()


def test_a_file_system_without_locks_is_used_with_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(*args):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lock.fcntl, "lockf", refuse)
    with caplog.at_level(logging.WARNING):
        lock_folder(tmp_path)()
    assert "is not locked (No locks available)" in caplog.text
