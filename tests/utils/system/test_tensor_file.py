"""Files of torch.save: nothing in them is executed, and damage is one line."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch

from utils.errors import CheckpointError
from utils.system.tensor_file import read_tensors


class Hostile:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def one_line(path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("archive", [True, False])
def test_a_pickle_that_would_run_code_is_refused_in_both_formats(tmp_path, archive):
    marker, path = tmp_path / "executed", tmp_path / "w.pth"
    torch.save({"a": Hostile(marker)}, path, _use_new_zipfile_serialization=archive)
    assert "so it was not opened" in one_line(path)
    assert not marker.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_bare_pickle_that_would_run_code_is_refused_without_advice_to_run_it(tmp_path, protocol):
    marker, path = tmp_path / "executed", tmp_path / "w.pth"
    path.write_bytes(pickle.dumps({"a": Hostile(marker)}, protocol))
    message = one_line(path)
    assert "weights_only" not in message and "trusted" not in message
    assert not marker.exists()


@pytest.mark.parametrize("archive", [True, False])
def test_both_formats_are_read(tmp_path, archive):
    torch.save({"a": torch.arange(5)}, tmp_path / "w.pth", _use_new_zipfile_serialization=archive)
    assert read_tensors(tmp_path / "w.pth")["a"].tolist() == [0, 1, 2, 3, 4]


def test_an_archive_without_checksums_is_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.arange(5)}, tmp_path / "w.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert read_tensors(tmp_path / "w.pth")["a"].tolist() == [0, 1, 2, 3, 4]


def test_a_flipped_bit_in_a_tensor_is_found(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"a": torch.arange(1000)}, path)
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(1000).numpy().tobytes()) + 999] ^= 1
    path.write_bytes(content)
    assert "is damaged" in one_line(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html>404</html>", "is a web page"),
        (b"junk", "cannot be read as weights"),
        (b"hello", r"(it is no file of torch.save, or damaged)"),
    ],
)
def test_files_of_a_failed_download_are_named_for_what_they_are(tmp_path, content, reason):
    (tmp_path / "w.pth").write_bytes(content)
    assert reason in one_line(tmp_path / "w.pth")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_cut_file_is_refused(tmp_path, share):
    path = tmp_path / "w.pth"
    torch.save({"a": torch.arange(1000)}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "cannot be read as weights" in one_line(path)


def test_a_missing_file_is_named_with_the_folder_that_was_looked_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f"w.pth: no such file in {tmp_path}" in one_line(Path("w.pth"))
    assert "is a folder" in one_line(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="named pipes are of POSIX")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "w.pth")
    assert "no such file" in one_line(tmp_path / "w.pth")
