import pytest

from utils.system.files import replacing


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path):
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
        temporary.write_text("whole")
    assert path.read_text() == "whole"


def test_writers_do_not_share_a_name(tmp_path):
    path = tmp_path / "result.txt"
    with replacing(path) as first, replacing(path) as second:
        assert first != second
        first.write_text("1")
        second.write_text("2")
    assert path.read_text() == "1"  # the outer block ends last
