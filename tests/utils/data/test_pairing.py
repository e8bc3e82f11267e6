from __future__ import annotations

from pathlib import Path

import pytest

from utils.data.pairing import (
    list_images,
    name_some,
    pair_by_key,
    pairs_of_list,
    read_list,
    require_files,
    require_folder,
)
from utils.errors import DataError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return [root / name for name in names]


def refused(kind, words, call, *args):
    with pytest.raises(DataError, match=words) as caught:
        call(*args)
    assert caught.value.kind == kind
    return caught.value


def test_a_missing_folder_and_a_file_in_its_place_are_told_with_the_hint(tmp_path):
    (file,) = touch(tmp_path, "file")
    assert require_folder(tmp_path) == tmp_path
    refused(
        "missing", r"none: no such folder; set data_dir$", require_folder, tmp_path / "none", "set data_dir"
    )
    error = refused("missing", "is a file, not a folder", require_folder, file)
    assert error.paths == (file,)


def test_images_are_listed_by_name_without_hidden_and_foreign_files(tmp_path):
    touch(tmp_path, "b.PNG", "a.jpg", ".c.png", "d.txt", "e.png/f.png")
    assert [path.name for path in list_images(tmp_path)] == ["a.jpg", "b.PNG"]
    assert [path.name for path in list_images(tmp_path, (".txt",))] == ["d.txt"]


def test_missing_files_are_counted_and_three_are_named(tmp_path):
    present = touch(tmp_path, "a.png")
    absent = [tmp_path / f"{n}.png" for n in range(4)]
    require_files(present, "images")
    error = refused(
        "missing", "4 masks are missing: .*0.png, .*2.png ...$", require_files, present + absent, "masks"
    )
    assert error.paths == tuple(absent)


def test_names_are_shortened_to_three():
    assert name_some(["a", "b", "c"]) == "a, b, c" and name_some(["a", "b", "c", "d"]) == "a, b, c ..."


def test_pairs_follow_the_images_and_ignore_extra_masks():
    images, masks = (
        [Path("i/b.jpg"), Path("i/a.jpg")],
        [Path("m/a_L.png"), Path("m/b_L.png"), Path("m/c_L.png")],
    )
    pairs = pair_by_key(images, masks, lambda path: path.stem[:-2])
    assert pairs == [("b", images[0], masks[1]), ("a", images[1], masks[0])]


def test_an_image_without_a_mask_and_two_of_one_name_are_errors():
    error = refused(
        "unpaired", "2 images have no mask: a.jpg, b.jpg", pair_by_key, [Path("a.jpg"), Path("b.jpg")], []
    )
    assert error.paths == (Path("a.jpg"), Path("b.jpg"))
    refused("duplicate", "the same name 'a'", pair_by_key, [Path("a.jpg"), Path("a.png")], [])


def test_a_list_is_read_without_marks_and_blank_lines(tmp_path):
    (tmp_path / "l.txt").write_bytes("\ufeffone\r\n\r\n  two \n".encode())
    assert read_list(tmp_path / "l.txt") == ["one", "two"]
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\xff")
    refused("unreadable", "cannot be read as text", read_list, tmp_path / "bad.txt")
    refused("missing", "lists the images", read_list, tmp_path / "none.txt")


def test_a_line_of_a_list_is_a_name_a_file_name_or_two_paths(tmp_path):
    image, mask, other, label = touch(tmp_path, "i/a.jpg", "m/a.png", "j/b c.jpg", "n/b c.png")
    (tmp_path / "l.txt").write_text("a\na.jpg\n/j/b c.jpg\tn/b c.png\n")
    pairs = pairs_of_list(tmp_path, tmp_path / "l.txt", {"a": image}, {"a": mask})
    assert pairs == [("a", image, mask), ("a", image, mask), ("j/b c", other, label)]
    assert pairs_of_list(tmp_path, tmp_path / "l.txt", {"a": image}, None)[0] == ("a", image, None)


@pytest.mark.parametrize(("line", "kind", "words"), [
    ("c", "missing", "entry 2: 'c' names no image"),
    ("b", "unpaired", "entry 2: 'b' has an image but no mask"),
    ("a.jpg none.png", "missing", "names no image"),
])  # fmt: skip
def test_a_line_that_names_nothing_is_an_error_with_its_number(tmp_path, line, kind, words):
    image, mask = touch(tmp_path, "a.jpg", "a.png")
    (tmp_path / "l.txt").write_text(f"a\n{line}\n")
    images = {"a": image, "b": image}
    refused(kind, words, pairs_of_list, tmp_path, tmp_path / "l.txt", images, {"a": mask})
