"""Outputs on disk: names that never collide, every kind of file, original ids."""

from __future__ import annotations

from pathlib import Path, PurePath

import numpy as np
import pytest
from PIL import Image

from utils.dataset_info import DatasetInfo
from utils.errors import ConfigError, StorageError
from utils.inference.inputs import ImageFile
from utils.inference.outputs import SUFFIXES, ImagePrediction, ResultWriter, name_outputs, original_ids

INFO = DatasetInfo(("a", "b"), ((10, 20, 30), (0, 200, 0)), label_ids=(7, 11))
MASK = np.array([[0, 1, 255], [1, 1, 0]], np.uint8)


def files(*names: str) -> list[ImageFile]:
    return [ImageFile(Path("in") / name, PurePath(name)) for name in names]


def test_extensions_stay_only_where_stems_are_shared():
    named = name_outputs(files("a.jpg", "a.png", "b.c.png", "x/a.jpg"), ["mask"])
    assert [name.as_posix() for name in named] == ["a_jpg", "a_png", "b.c", "x/a"]


def test_names_that_collide_all_the_same_are_refused_with_both_files():
    with pytest.raises(ConfigError, match=r"in/a.jpg and in/a_jpg.bmp would both be written to a_jpg.png"):
        name_outputs(files("a.jpg", "a.png", "a_jpg.bmp"), ["mask"])
    with pytest.raises(
        ConfigError, match=r"a.colour.png"
    ):  # the mask of one is the colour image of the other
        name_outputs(files("a.jpg", "a.colour.jpg"), ["mask", "colour"])
    name_outputs(files("a.jpg", "a.colour.jpg"), ["mask"])


def test_every_kind_is_written_and_read_back(tmp_path):
    writer = ResultWriter(tmp_path / "out", INFO, list(SUFFIXES))
    probabilities = np.random.default_rng(0).random((2, 2, 3)).astype(np.float16)
    disagreement = np.array([[0, 85, 255], [0, 0, 1]], np.uint8)
    assert not writer.is_complete(PurePath("x/a.b"))
    image = np.zeros((2, 3, 3), np.uint8)
    writer.write(PurePath("x/a.b"), image, ImagePrediction(MASK, probabilities, disagreement))
    assert writer.is_complete(PurePath("x/a.b"))
    found = {}
    for kind, suffix in SUFFIXES.items():
        path = tmp_path / "out" / "x" / f"a.b{suffix}"
        if kind == "probabilities":
            with np.load(path) as stored:
                assert stored["classes"].tolist() == ["a", "b"]
                found[kind] = stored["probabilities"]
        else:
            with Image.open(path) as opened:
                found[kind] = np.array(opened)
    assert np.array_equal(found["mask"], MASK) and np.array_equal(found["disagreement"], disagreement)
    assert np.array_equal(found["ids"], [[7, 11, 0], [11, 11, 7]])
    assert np.array_equal(found["probabilities"], probabilities)
    assert found["colour"][0].tolist() == [[10, 20, 30], [0, 200, 0], [224, 224, 192]]
    assert found["overlay"].shape[0] > 2
    (tmp_path / "out" / "x" / "a.b.png").unlink()
    assert not writer.is_complete(PurePath("x/a.b"))


def test_original_ids_above_255_need_16_bits_and_void_is_0():
    wide = DatasetInfo(("a", "b"), ((0, 0, 0), (1, 1, 1)), label_ids=(300, 2))
    assert original_ids(MASK, wide).tolist() == [[300, 2, 0], [2, 2, 300]]
    assert original_ids(MASK, wide).dtype == np.uint16 and original_ids(MASK, INFO).dtype == np.uint8


def test_original_ids_need_a_data_set_that_has_them(tmp_path):
    plain = DatasetInfo(("a", "b"), ((0, 0, 0), (1, 1, 1)))
    with pytest.raises(ConfigError, match="original ids"):
        ResultWriter(tmp_path, plain, ["mask", "ids"])


def test_a_folder_that_cannot_be_created_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be created"):
        ResultWriter(tmp_path / "file" / "out", INFO, ["mask"])
