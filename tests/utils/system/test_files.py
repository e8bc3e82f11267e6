"""Atomic writes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from utils.errors import StorageError
from utils.system.files import replacing, write_atomically


def test_the_old_file_remains_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old" and temporary.parent == tmp_path
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_nothing_is_left_of_a_write_that_failed(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("old")
    with pytest.raises(ValueError, match="half way"), replacing(path) as temporary:
        temporary.write_text("ne")
        raise ValueError("half way")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_names_may_be_as_long_as_the_file_system_allows(tmp_path):
    path = tmp_path / ("x" * 255)
    with replacing(path, ".png") as temporary:
        assert temporary.suffix == ".png"
        temporary.write_text("complete")
    assert path.read_text() == "complete"


def test_writers_do_not_share_a_name(tmp_path):
    path = tmp_path / "result.txt"
    with replacing(path) as first, replacing(path) as second:
        assert first != second
        first.write_text("1")
        second.write_text("2")
    assert path.read_text() == "1"  # the outer block ends last


def test_a_written_file_gets_its_folders(tmp_path):
    path = tmp_path / "a" / "b" / "result.bin"
    write_atomically(path, lambda file: file.write(b"12"))
    assert path.read_bytes() == b"12" and list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=r"file/result\.bin: could not be written"):
        write_atomically(tmp_path / "file" / "result.bin", lambda file: file.write(b"1"))


def test_the_first_file_in_a_folder_removes_what_a_killed_process_left(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    dead, alive, user = f".0123abcd.{child.pid}.tmp", f".0123abcd.{os.getpid()}.tmp", ".notes.12.tmp"
    video, fresh = f".0123abcd.{child.pid}.mp4", f".89abcdef.{child.pid}.tmp"
    for name in (dead, alive, user, video, fresh):
        (tmp_path / name).touch()
        if name != fresh:  # a machine that shares the folder may be writing it
            os.utime(tmp_path / name, (1, 1))
    write_atomically(tmp_path / "a.png", lambda file: file.write(b"x"))
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", alive, user, fresh}
