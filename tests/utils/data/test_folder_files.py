"""Files that a folder or a pattern names; links among them are followed, and those that lead nowhere are named."""

from __future__ import annotations

import os

import pytest

from dataloaders.folder import FolderDataSet
from tests.dataloaders.trees import blocks, picture, save
from tests.utils.data.test_pairing import refused, touch
from utils.data.folder_files import find_files
from utils.data.pairing import list_images
from utils.errors import DataError


def test_files_of_a_folder_are_named_without_extension_and_suffix(tmp_path):
    touch(tmp_path, "m/a_mask.gif", "m/b_mask.png", "m/c.png", "m/below/d_mask.png")
    assert list(find_files(tmp_path, "m")) == ["a_mask", "b_mask", "c"]
    assert list(find_files(tmp_path, "m", "_mask")) == ["a", "b"]
    assert list(find_files(tmp_path, "m", "_mask.gif")) == ["a"]


def test_a_pattern_names_files_by_their_path_below_its_fixed_part(tmp_path):
    touch(tmp_path, "s/x/1.tif", "s/y/1.tif", "s/y/2.png", "s/.cache/3.tif")
    assert find_files(tmp_path, "s/**/*.tif") == {
        "x/1": tmp_path / "s/x/1.tif",
        "y/1": tmp_path / "s/y/1.tif",
    }
    assert list(find_files(tmp_path, str(tmp_path / "s" / "?" / "*"))) == ["x/1", "y/1", "y/2"]


def test_files_that_cannot_be_found_or_named_are_an_error_with_its_kind(tmp_path):
    touch(tmp_path, "m/a.png", "m/a.jpg", "n/c.txt", "list.txt")
    refused("missing", "no such folder", find_files, tmp_path, "none")
    refused("missing", "no image files that end in '_x'", find_files, tmp_path, "m", "_x")
    refused("missing", "list_file", find_files, tmp_path, "list.txt")
    error = refused("duplicate", r"have the same name.*'\*.png'", find_files, tmp_path, "m")
    assert set(error.paths) == {tmp_path / "m/a.png", tmp_path / "m/a.jpg"}


@pytest.mark.parametrize(
    "listing", [lambda root: find_files(root, "i"), lambda root: list_images(root / "i")]
)
def test_links_that_lead_nowhere_are_counted_and_named(tmp_path, caplog, listing):
    """D22."""
    (tmp_path / "i").mkdir()
    (tmp_path / "i" / "1.png").write_bytes(b"x")
    for name in ("2.png", "3.png", "note.txt"):
        (tmp_path / "i" / name).symlink_to(tmp_path / "nowhere")
    assert len(listing(tmp_path)) == 1
    assert "2 links lead nowhere" in caplog.text and "2.png" in caplog.text and "3.png" in caplog.text


def test_a_folder_without_permission_is_named_as_such(tmp_path, monkeypatch):
    """D25; the superuser may read everything, so access is refused here."""
    (tmp_path / "i").mkdir()
    monkeypatch.setattr("utils.data.pairing.os.access", lambda folder, mode: False)
    for listing in (lambda: find_files(tmp_path, "i"), lambda: list_images(tmp_path / "i")):
        with pytest.raises(DataError, match="no permission to read this folder"):
            listing()


def test_files_in_folders_below_are_counted_with_the_pattern_that_names_them(tmp_path):
    touch(
        tmp_path,
        "i/a/1.JPG",
        "i/b/1.JPG",
        "i/b/c/2.JPG",
        "i/.x/3.JPG",
        "m/a/1_L.png",
        "m/a/2.png",
        "n/a/1.gif",
    )
    touch(tmp_path, "n/b/1.png")
    refused(
        "missing",
        r"i: no image files directly in it, 3 in folders below: write i/\*\*/\*\.JPG$",
        find_files,
        tmp_path,
        "i",
    )
    refused(
        "missing",
        r"end in '_L' directly in it, 1 in folders below: write m/\*\*/\*\.png$",
        find_files,
        tmp_path,
        "m",
        "_L",
    )
    refused("missing", r"2 in folders below: write n/\*\*/\*$", find_files, tmp_path, "n")
    refused("missing", r"no image files$", find_files, tmp_path, "m/*.jpg")
    assert len(find_files(tmp_path, "i/**/*.JPG")) == 3


def test_a_file_whose_name_is_the_suffix_is_named_by_its_folder(tmp_path):
    touch(tmp_path, "case_1/image.png", "case_1/mask.png", "case_2/image.png", "case_2/mask.png", "mask.png")
    assert (
        list(find_files(tmp_path, "*/*", "image"))
        == list(find_files(tmp_path, "*/*", "mask"))
        == ["case_1", "case_2"]
    )
    assert list(find_files(tmp_path, "", "mask")) == ["mask"]


@pytest.mark.parametrize("pattern", ["i/**/*.png", "i/**/*"])
def test_linked_folders_below_a_pattern_are_searched_and_loops_end(tmp_path, pattern):
    touch(tmp_path, "store/deep/2.png", "i/own/1.png")
    (tmp_path / "i" / "link").symlink_to(tmp_path / "store")
    for name in ("i/loop", "store/up", "i/own/back"):
        (tmp_path / name).symlink_to(tmp_path / "i")
    assert list(find_files(tmp_path, pattern)) == ["link/deep/2", "own/1"]


def test_a_hidden_store_behind_a_link_is_searched(tmp_path):
    touch(tmp_path, "i/.store/1.png")
    (tmp_path / "i" / "link").symlink_to(".store")
    assert list(find_files(tmp_path, "i/**/*")) == ["link/1"]


def test_folder_reads_linked_trees(tmp_path):
    for number in range(3):
        save(tmp_path / "store" / "i" / f"{number}.png", picture((8, 8), number))
        save(tmp_path / "store" / "m" / f"{number}.png", blocks((8, 8), [0], number))
    for part in "im":
        (tmp_path / "top" / part).mkdir(parents=True)
        (tmp_path / "top" / part / "link").symlink_to(tmp_path / "store" / part)
    data = FolderDataSet(str(tmp_path / "top"), ["a", "b"], images="i/**/*", masks="m/**/*", val=True)
    assert [sample.image_id for sample in data.files] == ["link/0", "link/1", "link/2"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch, caplog):
    touch(tmp_path, "i/open/1.png", "i/closed/2.png")
    scan = os.scandir

    def refuse(folder):
        if str(folder).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr("utils.system.patterns.os.scandir", refuse)
    assert list(find_files(tmp_path, "i/**/*")) == ["open/1"]
    assert "i/closed: left out, because it cannot be read: Permission denied" in caplog.text
