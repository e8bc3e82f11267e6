from __future__ import annotations

import logging

import numpy as np
import pytest

from dataloaders import CamVid
from tests.dataloaders.trees import camvid
from utils.data.class_weights import ClassCounts, compute_class_weights, count_classes, weights_from_counts


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path / "cache"))


class Masks:
    """Three masks of four pixels; counts how often they are read."""

    def __init__(self):
        self.read = 0
        self.masks = [[0, 0, 0, 1], [0, 0, 0, 255], [1, 1, 2, 2]]

    def __len__(self):
        return 3

    def label(self, index):
        self.read += 1
        return np.array([self.masks[index]], np.uint8)

    def fingerprint(self):
        return str(self.masks)


def test_counts_by_hand():
    counts = count_classes(Masks(), 4)
    assert counts.pixels.tolist() == [6, 3, 2, 0]
    assert counts.image_pixels.tolist() == [8, 8, 4, 0]
    assert counts.images.tolist() == [2, 2, 1, 0]
    assert counts.void == 1


def test_masks_are_counted_once_until_they_change():
    masks = Masks()
    first = count_classes(masks, 3)
    assert np.array_equal(count_classes(masks, 3).pixels, first.pixels) and masks.read == 3
    masks.masks[0] = [2, 2, 2, 2]
    assert count_classes(masks, 3).pixels.tolist() == [3, 2, 6] and masks.read == 6


def test_formulas_by_hand():
    counts = count_classes(Masks(), 3)
    frequency = np.array([6 / 8, 3 / 8, 2 / 4])
    assert np.allclose(weights_from_counts("median", counts), 0.5 / frequency)
    share = np.array([6, 3, 2]) / 11
    inverse = np.array(weights_from_counts("inverse", counts))
    assert np.allclose(inverse, 1 / (3 * share)) and np.allclose(inverse * share, 1 / 3)
    assert np.allclose(weights_from_counts("enet", counts), 1 / np.log(1.02 + share))
    beta = 1 - 1 / 11
    effective = (1 - beta) / (1 - beta ** np.array([6, 3, 2]))
    assert np.allclose(weights_from_counts("effective", counts), effective / effective.mean())


def test_the_published_weights_of_camvid():
    """ENet's, over its 12 classes with void, from the label counts of the 367 training images."""
    pixels = np.array([
        10682767, 14750079, 623349, 20076880, 2845085, 6166762, 743859, 714595, 3719877, 405385,
        184967, 2503995,
    ])  # fmt: skip
    counts = ClassCounts(pixels, pixels, pixels, 0)
    expected = [
        5.792, 4.4403, 34.0217, 3.4469, 15.9119, 9.0202, 32.0138, 32.4789, 13.2071, 38.3877, 44.1345, 17.3064,
    ]  # fmt: skip
    assert np.allclose(weights_from_counts("enet", counts), expected, atol=1e-3)


@pytest.mark.parametrize("mode", ["median", "inverse", "effective", "enet"])
def test_an_absent_class_weighs_one(mode):
    weights = weights_from_counts(mode, count_classes(Masks(), 4))
    assert weights[3] == 1.0 and np.isfinite(weights).all()


def test_the_table_names_every_class(tmp_path, caplog):
    loader = CamVid(**camvid(tmp_path), split="train", batch_size=1)
    with caplog.at_level(logging.INFO):
        weights = compute_class_weights("median", loader, loader.info)
    assert len(weights) == 11 and all(name in caplog.text for name in loader.info.classes)
    assert weights == compute_class_weights("median", loader.dataset, loader.info)


def test_an_unwritable_cache_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path / "file" / "below"))
    assert count_classes(Masks(), 3).void == 1
