from __future__ import annotations

import logging

import numpy as np
import pytest

from dataloaders import Folder
from tests.dataloaders.trees import picture, save
from utils.errors import LabelError

CLASSES = ["ground", "car", "bird", "fish"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path / "cache"))


def make(root, held=((0,), (0, 1), (0, 1), (0, 1, 2)), **options):
    """A folder whose mask k holds the classes ``held[k]``."""
    for number, classes in enumerate(held):
        save(root / "images" / f"{number}.png", picture((8, 8), number))
        mask = np.full((8, 8), classes[0], np.uint8)
        for row, value in enumerate(classes):
            mask[row] = value
        save(root / "masks" / f"{number}.png", mask)
    args = {"data_dir": str(root), "classes": CLASSES, "split": "all", "void": [255], "batch_size": 2}
    return Folder(**{**args, "sampler": "rare_classes", **options})


def test_images_of_rare_classes_occur_more_often(tmp_path, caplog):
    """f = 1, 3/4, 1/4; the median is t, so that bird has sqrt((3/4) / (1/4)) = 1.732."""
    with caplog.at_level(logging.INFO):
        loader = make(tmp_path)
    assert np.allclose(loader.batches.factors, [1, 1, 1, 3**0.5])
    assert [record.getMessage() for record in caplog.records] == [
        "sampler: no image holds fish; the order cannot make it more frequent",
        "sampler: 5 samples from 4 images; repeated: bird x1.73",
    ]
    assert loader.batches.length == 5 and len(loader) == 2  # a single last image is dropped
    loader = make(tmp_path, sampler_threshold=1.0, drop_last=False)  # 1, sqrt(4/3), sqrt(4/3), 2
    names = []
    for epoch in range(200):
        loader.set_epoch(epoch)
        names += [key.index % 4 for part in loader.batches for key in part]
    counts = np.array([names.count(number) for number in range(4)]) / 200
    factors = np.array([1, (4 / 3) ** 0.5, (4 / 3) ** 0.5, 2])
    assert len(loader) == 3 and np.abs(counts - factors * 6 / factors.sum()).max() < 0.1


def test_repeat_multiplies_and_val_split_counts_the_training_part(tmp_path):
    assert np.allclose(make(tmp_path, repeat=3).batches.factors, [3, 3, 3, 3 * 3**0.5])
    loader = make(tmp_path, val_split=1)
    assert len(loader.batches.factors) == 3 == len(loader.dataset)
    assert loader.get_val_loader().batches.factors is None


@pytest.mark.parametrize(("options", "line"), [
    ({"masks": None}, "sampler: the split 'all' has no masks to count"),
    ({"held": ((255,), (255,))}, "sampler: all pixels of the masks of 'all' are void"),
    ({"val": True}, "sampler: validation data (val is true) is read once, in order"),
    ({"sampler": None, "sampler_threshold": 0.5}, "sampler_threshold: it has no effect without sampler"),
])  # fmt: skip
def test_a_sampler_without_classes_to_count_is_one_line(tmp_path, options, line):
    with pytest.raises(ValueError) as caught:
        make(tmp_path, **options)
    assert str(caught.value) == line


def test_a_mask_that_cannot_be_counted_is_named(tmp_path):
    with pytest.raises(LabelError, match=r"1.png: value 9"):
        make(tmp_path, held=((0,), (9,)))
