from __future__ import annotations

import numpy as np
import pytest

from tests.utils.data.test_class_weights import Masks
from utils.data.class_histograms import dense, images_of_classes, mask_histograms, rare_classes
from utils.data.class_weights import count_classes


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path / "cache"))


def test_histograms_by_hand_are_counted_once():
    masks = Masks()
    found = mask_histograms(masks)
    assert found == [[[0, 3], [1, 1]], [[0, 3], [255, 1]], [[1, 2], [2, 2]]]
    assert mask_histograms(masks) == found and count_classes(masks, 3).pixels.tolist() == [6, 3, 2]
    assert masks.read == 3
    assert [counts.sum() for counts in dense(found)] == [4, 4, 4]
    assert [indices.tolist() for indices in images_of_classes(found, 4)] == [[0, 1], [0, 2], [2], []]


@pytest.mark.parametrize(("pixels", "rare"), [
    ([6, 3, 2], [2]), ([9, 1], [1]), ([5, 5], []), ([5, 0, 5, 1], [3]), ([0, 0], []), ([4, 3, 2, 1, 0], [2, 3]),
])  # fmt: skip
def test_rare_classes_have_fewer_pixels_than_the_median(pixels, rare):
    assert rare_classes([[[index, count] for index, count in enumerate(pixels)]], len(pixels)) == rare


def test_void_is_never_rare():
    assert rare_classes([[[0, 10], [1, 20], [255, 1]]], 2) == [0]
    assert not np.concatenate(images_of_classes([[[255, 4]]], 2)).size
