from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest

from dataloaders import Shapes
from tests.dataloaders.test_contract import batches, equal
from utils.augment.external import Albumentations

ARGS = {"split": "train", "num_images": 8, "image_size": 48, "batch_size": 4}
NOISE = [{"type": "GaussNoise", "args": {"p": 1.0}}]


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "albumentations", None)
    with pytest.raises(ValueError, match=r"requirements/albumentations\.txt"):
        Albumentations(NOISE, (0, 0, 0))


class TestWithThePackage:
    @pytest.fixture(autouse=True)
    def package(self, monkeypatch):
        monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")
        pytest.importorskip("albumentations")

    def test_draws_follow_our_seed_whatever_the_workers(self):
        plain = batches(Shapes(**ARGS))
        noisy = batches(Shapes(**ARGS, albumentations=NOISE))
        assert not equal(plain, noisy)
        assert equal(noisy, batches(Shapes(**ARGS, albumentations=NOISE, num_workers=2)))
        assert equal(
            noisy, batches(Shapes(**ARGS, albumentations=NOISE, num_workers=1, worker_type="process"))
        )

    def test_what_comes_from_outside_is_void(self):
        step = Albumentations([{"type": "Affine", "args": {"translate_px": [20, 20], "p": 1.0}}], (9, 9, 9))
        image, label = step(
            np.ones((40, 40, 3), np.uint8), np.ones((40, 40), np.uint8), np.random.default_rng(0)
        )
        assert set(np.unique(label)) == {1, 255} and (label == 255).sum() > 100
        assert (image[label == 255] == 9).mean() > 0.95

    def test_validation_is_left_alone(self):
        args = {**ARGS, "val": True}
        assert equal(batches(Shapes(**args)), batches(Shapes(**args, albumentations=NOISE)))

    def test_it_pickles(self):
        step = pickle.loads(pickle.dumps(Albumentations(NOISE, (0, 0, 0))))
        step(np.ones((4, 4, 3), np.uint8), np.ones((4, 4), np.uint8), np.random.default_rng(0))

    @pytest.mark.parametrize(("spec", "message"), [
        ({"type": "GausNoise"}, "did you mean 'GaussNoise'"),
        ({"type": "GaussNoise", "args": {"pp": 1}}, "no argument 'pp'"),
        ({"type": "Compose"}, "no transform 'Compose'"),
        ({}, "no transform ''"),
    ])  # fmt: skip
    def test_mistakes_are_one_line(self, spec, message):
        with pytest.raises(ValueError, match=message):
            Albumentations([spec], (0, 0, 0))
