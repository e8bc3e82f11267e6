"""Images that a command line names: folders, patterns, lists, and the outputs that are none of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from utils.errors import DataError
from utils.inference.inputs import find_images


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("b.JPG", "a.png", "deep/c.jpg", "deep/er/d.tif", "notes.md", "out/a.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "in"


def names(given: object, *args, **options) -> list[str]:
    return [image.relative.as_posix() for image in find_images(str(given), *args, **options)]


def test_a_folder_is_searched_with_its_subfolders_in_order(folder):
    assert names(folder) == ["a.png", "b.JPG", "deep/c.jpg", "deep/er/d.tif", "out/a.png"]
    assert names(folder, ["jpg"]) == names(folder, [".JPG"]) == ["b.JPG", "deep/c.jpg"]
    assert all(image.path == folder / image.relative for image in find_images(str(folder)))


def test_the_output_folder_is_left_out_unless_it_is_the_input_folder(folder):
    assert "out/a.png" not in names(folder, exclude=folder / "out")
    assert "out/a.png" not in names(folder / "**" / "*", exclude=folder / "deep" / ".." / "out")
    assert names(folder, exclude=folder) == names(folder)
    assert names(folder / "*.png", exclude=folder) == ["a.png"]


def test_names_of_a_pattern_begin_at_its_first_wildcard(folder):
    assert names(folder / "*.png") == ["a.png"]
    assert names(folder / "d*" / "*.jpg") == ["deep/c.jpg"]
    assert names(folder / "deep" / "**" / "*") == ["c.jpg", "er/d.tif"]


def test_a_file_given_by_name_is_taken_whatever_its_extension(folder):
    assert names(folder / "notes.md") == ["notes.md"]
    assert names(folder / "a.png", ["jpg"]) == ["a.png"]


def test_a_list_keeps_its_order_and_stays_inside_the_output_folder(folder):
    (folder / "list.txt").write_text(f"\ufeffdeep/c.jpg\r\n\n../in/a.png\n{folder}/b.JPG\n")
    found = find_images(str(folder / "list.txt"))
    assert [image.path.resolve() for image in found] == [
        folder / "deep" / "c.jpg",
        folder / "a.png",
        folder / "b.JPG",
    ]
    assert [image.relative.as_posix() for image in found[:2]] == ["deep/c.jpg", "in/a.png"]
    assert not any(image.relative.is_absolute() or ".." in image.relative.parts for image in found)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("none", "no such"), ("empty", "no image"), ("*.webp", "no image"),
        ("empty.txt", "empty"), ("bad.lst", "list"),
    ],
)  # fmt: skip
def test_nothing_to_predict_is_an_error_that_names_the_input(folder, given, message):
    (folder / "empty").mkdir()
    (folder / "empty.txt").write_text(" \n")
    (folder / "bad.lst").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataError, match=message) as error:
        find_images(str(folder / given))
    assert given in str(error.value)


@pytest.mark.parametrize("given", ["in", "in/**/*.png"])
def test_loops_of_links_give_every_image_once(tmp_path, given):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "a.png").touch()
    for name in ("loop", "again", "sub/up"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "in")
    assert names(tmp_path / given) == ["a.png"]


def test_a_linked_folder_is_searched(tmp_path, folder):
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "link").symlink_to(folder)
    assert "link/deep/c.jpg" in names(tmp_path / "top")


def test_companion_files_of_a_mac_are_no_images(folder):
    (folder / "._a.png").write_bytes(b"")
    assert "._a.png" not in names(folder) and names(folder / "*.png") == ["a.png"]


def test_a_folder_with_brackets_in_a_pattern(tmp_path):
    (tmp_path / "photos [v2]").mkdir()
    (tmp_path / "photos [v2]" / "a.png").touch()
    assert names(tmp_path / "photos [v2]" / "*.png") == ["a.png"]


@pytest.mark.parametrize("given", ["in", "in/**/*.png", "in/deep/*.png"])
def test_links_that_lead_nowhere_are_named(tmp_path, folder, caplog, given):
    (folder / "deep" / "lost.png").symlink_to("nowhere")
    (folder / "deep" / "x.png").touch()
    assert "lost" not in "".join(names(tmp_path / given))
    assert "1 links lead nowhere" in caplog.text and "lost.png" in caplog.text


def test_a_folder_without_permission_is_named_as_such(folder, monkeypatch):
    monkeypatch.setattr("utils.data.pairing.os.access", lambda path, mode: False)
    with pytest.raises(DataError, match="in: no permission to read this folder"):
        find_images(str(folder))
