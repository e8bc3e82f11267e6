from __future__ import annotations

from pathlib import Path

import pytest

from utils.system.text import first_line, fixed_part


@pytest.mark.parametrize(("message", "line"), [
    ("one", "one"), ("one\ntwo", "one"), ("\n  two  \nthree", "two"), ("", "KeyError"), ("\n \n", "KeyError"),
])  # fmt: skip
def test_the_first_line_is_never_blank(message, line):
    class KeyError(Exception):  # the builtin one shows its argument quoted
        pass

    assert first_line(KeyError(message)) == line


@pytest.mark.parametrize(("pattern", "fixed"), [
    ("a/b/*.png", "a/b"), ("a/*/b", "a"), ("**/*.tif", "."), ("a/[xy]/b", "a"), ("a/b?", "a"), ("/a/b*/c", "/a"),
    ("a/b/c", "a/b/c"), ("", "."), ("*", "."),
])  # fmt: skip
def test_the_fixed_part_ends_before_the_first_wildcard(pattern, fixed):
    assert fixed_part(Path(pattern)) == Path(fixed)
