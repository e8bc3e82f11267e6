from __future__ import annotations

import numpy as np
import pytest

from utils.data.repeat_factors import class_factors, drawn_samples, epoch_length, factors_of_images


def test_factors_of_lvis_by_hand():
    """r(c) = max(1, sqrt(t / f(c))), r(I) = max over the classes of the image (Gupta et al., 2019)."""
    by_class = class_factors([100, 25, 4, 0], 100, threshold=0.36)
    assert by_class.tolist() == [1.0, 1.2, 3.0, 1.0]
    median = class_factors([100, 25, 4, 0], 100, None)  # t = 0.25, the median of 1, 0.25 and 0.04
    assert median.tolist() == [1.0, 1.0, 2.5, 1.0]
    holders = [np.array([0, 1, 2]), np.array([2]), np.array([1, 2]), np.array([], int)]
    assert factors_of_images(holders, by_class.tolist(), 4).tolist() == [1.0, 3.0, 3.0, 1.0]
    assert class_factors([0, 0], 3, None).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("factors", [[1.0] * 5, [1.0, 3.0, 1.2, 1.5, 1.0], [2.0, 2.0], [1.0, 1.7, 3.14]])
def test_an_epoch_has_every_image_about_as_often_as_its_factor(factors):
    factors = np.array(factors)
    images, length = len(factors), int(np.ceil(factors.sum()))
    assert epoch_length(factors) == length
    counts = []
    for seed in range(400):
        samples = drawn_samples(factors, np.random.default_rng(seed))
        assert len(samples) == length == len(set(samples.tolist()))
        count = np.bincount(samples % images, minlength=images)
        for index in range(images):  # copy k of image i is i + k * images
            assert sorted(samples[samples % images == index] // images) == list(range(count[index]))
        counts.append(count)
    share = factors * length / factors.sum()
    assert (np.array(counts) >= np.floor(share)).all() and (np.array(counts) <= np.ceil(share)).all()
    assert np.abs(np.mean(counts, axis=0) - share).max() < 0.1
    assert np.array_equal(
        drawn_samples(factors, np.random.default_rng(3)), drawn_samples(factors, np.random.default_rng(3))
    )


def test_factors_of_one_give_each_image_once():
    assert drawn_samples(np.ones(7), np.random.default_rng(0)).tolist() == list(range(7))
