"""Atomic writes."""

from __future__ import annotations

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
