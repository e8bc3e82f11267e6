from __future__ import annotations

import numpy as np
import pytest
from scipy.io import savemat

from utils.errors import DataError
from utils.images.mat import read_mat

LABELS = np.array([[0, 1, 2], [3, 255, 4]], np.uint8)


@pytest.mark.parametrize(("stored", "dtype"), [
    (LABELS, np.uint8), (LABELS.astype(np.uint16) * 100, np.int32), (LABELS.astype(np.float64), np.int32),
    (LABELS > 0, np.uint8),
])  # fmt: skip
def test_a_variable_comes_back_as_integers(tmp_path, stored, dtype):
    savemat(tmp_path / "a.mat", {"S": stored})
    array = read_mat(tmp_path / "a.mat", "S")
    assert np.array_equal(array, stored) and array.dtype == dtype


@pytest.mark.parametrize("compress", [False, True])
def test_fields_of_structures_are_followed(tmp_path, compress):
    """SBD keeps its masks in GTcls.Segmentation."""
    savemat(tmp_path / "a.mat", {"GTcls": {"Segmentation": LABELS, "Boundaries": 0}}, do_compression=compress)
    assert np.array_equal(read_mat(tmp_path / "a.mat", "GTcls", "Segmentation"), LABELS)


@pytest.mark.parametrize(("content", "names", "kind", "words"), [
    ({"S": LABELS}, ("T",), "unsuitable", "has no 'T'"),
    ({"S": {"x": LABELS}}, ("S", "y"), "unsuitable", "has no 'S.y'"),
    ({"S": "text"}, ("S",), "unsuitable", "'S' is not an array"),
    ({"S": np.zeros((2, 3, 4))}, ("S",), "unsuitable", "'S' is not an array"),
    ({"S": LABELS + 0.5}, ("S",), "unsuitable", "holds fractions"),
])  # fmt: skip
def test_other_contents_are_an_error_with_the_file(tmp_path, content, names, kind, words):
    savemat(tmp_path / "a.mat", content)
    with pytest.raises(DataError, match=f"a.mat: .*{words}") as caught:
        read_mat(tmp_path / "a.mat", *names)
    assert caught.value.kind == kind


def test_missing_and_damaged_files_are_an_error_of_one_line(tmp_path):
    savemat(tmp_path / "a.mat", {"S": LABELS}, do_compression=True)
    (tmp_path / "cut.mat").write_bytes((tmp_path / "a.mat").read_bytes()[:150])
    for name, kind in {"none.mat": "missing", "cut.mat": "unreadable"}.items():
        with pytest.raises(DataError, match=name) as caught:
            read_mat(tmp_path / name, "S")
        assert caught.value.kind == kind and "\n" not in str(caught.value)
