from __future__ import annotations

import glob
from pathlib import Path

import pytest

from utils.system.patterns import expand, fixed_part, walk_folders


@pytest.mark.parametrize(("pattern", "fixed"), [
    ("a/b/*.png", "a/b"), ("a/*/b", "a"), ("**/*.tif", "."), ("a/[xy]/b", "a"), ("a/b?", "a"), ("/a/b*/c", "/a"),
    ("a/b/c", "a/b/c"), ("", "."), ("*", "."),
])  # fmt: skip
def test_the_fixed_part_ends_before_the_first_wildcard(pattern, fixed):
    assert fixed_part(Path(pattern)) == Path(fixed)


def test_a_part_with_brackets_that_exists_is_fixed(tmp_path):
    (tmp_path / "photos [v2]" / "deep").mkdir(parents=True)
    (tmp_path / "photos [v2]" / "deep" / "a.png").touch()
    pattern = tmp_path / "photos [v2]" / "**" / "*.png"
    assert fixed_part(pattern) == tmp_path / "photos [v2]"
    assert list(expand(pattern)) == [tmp_path / "photos [v2]" / "deep" / "a.png"]


def test_loops_of_links_end_and_a_real_folder_keeps_its_own_path(tmp_path):
    (tmp_path / "z" / "deep").mkdir(parents=True)
    for name, target in (("a", "z"), ("loop", "."), ("z/back", ".."), ("z/deep/up", "../..")):
        (tmp_path / name).symlink_to(target)
    assert list(walk_folders(tmp_path)) == [tmp_path, tmp_path / "z", tmp_path / "z" / "deep"]


def test_a_link_to_a_folder_elsewhere_is_followed(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "link").symlink_to(tmp_path / "other")
    assert list(walk_folders(tmp_path / "top")) == [tmp_path / "top", tmp_path / "top" / "link"]


@pytest.mark.parametrize(
    "pattern", ["*", "*.png", "**/*.png", "**", "a/*", "a/**/c.png", "?/b/[cd].png", "*/*", ".*"]
)
def test_a_pattern_without_links_matches_what_glob_matches(tmp_path, pattern):
    for name in ("1.png", "a/2.png", "a/b/c.png", "a/b/e.png", ".hidden/x.png", "a/.h.png", "d/n.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files = {path for path in expand(tmp_path / pattern) if path.is_file()}
    found = map(Path, glob.glob(str(tmp_path / pattern), recursive=True))  # noqa: PTH207
    assert files == {path for path in found if path.is_file()}
