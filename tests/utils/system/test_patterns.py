from __future__ import annotations

from pathlib import Path

import pytest

from utils.system.patterns import fixed_part


@pytest.mark.parametrize(("pattern", "fixed"), [
    ("a/b/*.png", "a/b"), ("a/*/b", "a"), ("**/*.tif", "."), ("a/[xy]/b", "a"), ("a/b?", "a"), ("/a/b*/c", "/a"),
    ("a/b/c", "a/b/c"), ("", "."), ("*", "."),
])  # fmt: skip
def test_the_fixed_part_ends_before_the_first_wildcard(pattern, fixed):
    assert fixed_part(Path(pattern)) == Path(fixed)
