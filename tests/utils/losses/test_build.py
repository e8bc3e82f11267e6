"""The loss of a config, with class weights given or computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.parts import INFO
from utils.config.factory import Component
from utils.config.sections import Experiment, OptimizerSection, TrainerSection
from utils.errors import ConfigError
from utils.losses.build import build_criterion

EXPERIMENT = Experiment(
    "run", Component("UNet"), Component("Shapes"), OptimizerSection("SGD"), TrainerSection(epochs=1)
)


class Masks:
    """Two masks: class 0 has 12 pixels, class 1 has 4, class 2 none."""

    def __len__(self):
        return 2

    def label(self, index):
        return np.array([[0, 0, 0, 1], [0, 0, 0, 1]], np.uint8)

    def fingerprint(self):
        return "two masks"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path))


@pytest.mark.parametrize("experiment", [EXPERIMENT, replace(EXPERIMENT, loss=None)])
def test_the_default_is_cross_entropy_without_weights(experiment):
    criterion = build_criterion(experiment, INFO, Masks())
    assert type(criterion).__name__ == "CrossEntropyLoss2d" and criterion.weight is None


def test_weights_are_given_or_computed_by_a_rule():
    given = replace(EXPERIMENT, class_weights=[1.0, 2.0, 0.5])
    assert build_criterion(given, INFO, Masks()).weight.tolist() == [1.0, 2.0, 0.5]
    inverse = replace(EXPERIMENT, class_weights="inverse")  # 1 / (classes present * share)
    weights = build_criterion(inverse, INFO, Masks()).weight.tolist()
    assert weights[1] / weights[0] == pytest.approx(3.0)
    assert weights[2] == 1.0


def test_weights_that_fit_neither_classes_nor_loss_are_refused():
    with pytest.raises(ConfigError, match=r"class_weights: 2 numbers for 3 classes \(a, b, c\)"):
        build_criterion(replace(EXPERIMENT, class_weights=[1.0, 2.0]), INFO, Masks())
    own = replace(EXPERIMENT, loss=Component("tests.parts.Unweighted"), class_weights=[1.0, 2.0, 3.0])
    with pytest.raises(ConfigError, match=r"class_weights: tests.parts.Unweighted takes none"):
        build_criterion(own, INFO, Masks())
