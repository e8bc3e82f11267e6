"""The folder that pseudo-labels go into: nothing in it is written twice, and its record must fit."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np
import pytest
from PIL import Image

from tests.checkpoints import make_info
from utils.errors import ConfigError, StorageError
from utils.images.masks import read_mask
from utils.inference.training_folder import RECORD, TrainingFolder


def test_a_pair_that_exists_stays_and_a_mask_comes_before_its_image(tmp_path):
    image = tmp_path / "x.jpg"
    Image.new("RGB", (3, 2)).save(image)
    folder = TrainingFolder(tmp_path / "out", make_info(), {"share": 0.5})
    name = PurePath("pseudo/deep/x.v1")
    assert not folder.holds(name, ".jpg")
    folder.add(name, image, np.full((2, 3), 2, np.uint8))
    again = TrainingFolder(tmp_path / "out", make_info(), {"share": 0.5})
    again.add(name, image, np.zeros((2, 3), np.uint8))
    assert again.holds(name, ".jpg") and (read_mask(folder.mask_path(name)) == 2).all()
    assert folder.image_path(name, ".jpg") == tmp_path / "out" / "images" / "pseudo" / "deep" / "x.v1.jpg"
    with pytest.raises(StorageError):
        folder.add(PurePath("pseudo/y"), tmp_path / "none.jpg", np.zeros((2, 3), np.uint8))
    assert folder.mask_path(PurePath("pseudo/y")).is_file()


def test_a_record_that_does_not_fit_is_one_line(tmp_path):
    TrainingFolder(tmp_path / "out", make_info(), {"share": 0.5, "models": ["a"]})
    with pytest.raises(ConfigError, match=r"other settings \(models: \[\"a\"\], now \[\"b\"\]\)"):
        TrainingFolder(tmp_path / "out", make_info(), {"share": 0.5, "models": ["b"]})
    for content in (b"{", b"[]", b'{"settings": 3}'):
        (tmp_path / "out" / RECORD).write_bytes(content)
        with pytest.raises(ConfigError, match="cannot be read as the record of a folder"):
            TrainingFolder(tmp_path / "out", make_info(), {})
