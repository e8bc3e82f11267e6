"""Members combine by the documented rules, band by band, whatever their order."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from base.base_model import SegmentationOutput
from utils.dataset_info import DatasetInfo, voc_palette
from utils.errors import ConfigError
from utils.predict.ensemble import Ensemble, even_bands
from utils.predict.options import PredictOptions
from utils.predict.predictor import Predictor
from utils.predict.rows import Band


class Fixed(nn.Module):
    """A network with the same probabilities at every pixel."""

    def __init__(self, probabilities) -> None:
        super().__init__()
        self.register_buffer("logits", torch.tensor(probabilities, dtype=torch.float32).clamp(min=1e-6).log())

    def forward(self, images):
        size = (len(images), len(self.logits), *images.shape[-2:])
        return SegmentationOutput(self.logits.view(1, -1, 1, 1).expand(size).clone())


class Striped(nn.Module):
    """A network with another class in every row, which shows rows in the wrong place."""

    def __init__(self, classes: int = 5, factor: int = 3) -> None:
        super().__init__()
        self.classes, self.factor = classes, factor

    def forward(self, images):
        red = (images[:, :1] * 0.229 * 255 + 0.485 * 255).round()
        hot = torch.cat([(red * self.factor % self.classes == c).float() for c in range(self.classes)], 1)
        return SegmentationOutput(hot * 4)


IMAGE = np.random.default_rng(0).integers(0, 255, (300, 40, 3), dtype=np.uint8)


def member(model: nn.Module, names: str = "abc", **options) -> Predictor:
    info = DatasetInfo(tuple(names), tuple(voc_palette(len(names))))
    return Predictor(model, info, options=PredictOptions(**{"window": (32, 32), **options}))


def votes(*classes: int, strength: float = 0.8) -> list[Predictor]:
    rows = [[strength if c == chosen else (1 - strength) / 2 for c in range(3)] for chosen in classes]
    return [member(Fixed(row)) for row in rows]


def test_a_majority_decides():
    assert (Ensemble(votes(1, 1, 0), "majority").predict(IMAGE) == 1).all()


def test_equal_votes_go_to_the_higher_mean_and_then_to_the_lower_index():
    assert (Ensemble(votes(0, 0, 2, 2), "majority").predict(IMAGE) == 0).all()
    weak, strong = votes(0, strength=0.5), votes(2, strength=0.9)
    assert (Ensemble([*weak, *strong], "majority").predict(IMAGE) == 2).all()
    assert (Ensemble([*strong, *weak], "majority").predict(IMAGE) == 2).all()


def test_many_unsure_votes_beat_a_sure_one_only_by_majority():
    members = [*votes(0, 0, strength=0.4), *votes(2, strength=0.99)]
    assert (Ensemble(members, "majority").predict(IMAGE) == 0).all()
    assert (Ensemble(members, "mean").predict(IMAGE) == 2).all()


def test_the_mean_is_the_weighted_mean_of_probabilities():
    one, two = member(Fixed([0.6, 0.3, 0.1])), member(Fixed([0.1, 0.7, 0.2]))
    band = next(Ensemble([one, two], "mean", [3, 1]).bands(IMAGE))
    expected = np.array([0.475, 0.4, 0.125])
    np.testing.assert_allclose(band.scores[0, 0].numpy(), expected, atol=1e-6)
    assert (Ensemble([one, two], "mean", [3, 1]).predict(IMAGE) == 0).all()
    assert (Ensemble([one, two], "mean", [1, 3]).predict(IMAGE) == 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["mean", "majority"])
def test_order_does_not_matter_and_rows_stay_where_they_are(rule):
    members = [
        member(Striped(factor=3), "abcde"),
        member(Striped(factor=3), "abcde", mode="sliding"),
        member(Striped(factor=2), "abcde", mode="sliding", window=(50, 20)),
    ]
    expected = Ensemble(members, rule).predict(IMAGE)
    for order in ([2, 0, 1], [1, 2, 0], [2, 1, 0]):
        assert np.array_equal(Ensemble([members[i] for i in order], rule).predict(IMAGE), expected)
    assert np.array_equal(expected, members[0].predict(IMAGE))


def test_one_member_alone_is_itself():
    alone = member(Striped(), "abcde")
    for rule in ("mean", "majority"):
        assert np.array_equal(Ensemble([alone], rule).predict(IMAGE), alone.predict(IMAGE))


def test_classes_are_matched_by_name():
    one, two = member(Fixed([0.6, 0.3, 0.1]), "abc"), member(Fixed([0.1, 0.3, 0.6]), "cba")
    band = next(Ensemble([one, two]).bands(IMAGE))
    np.testing.assert_allclose(band.scores[0, 0].numpy(), [0.6, 0.3, 0.1], atol=1e-6)


@pytest.mark.parametrize(
    ("names", "rule", "weights", "message"),
    [
        ("abd", "mean", None, "lacks c and has d"),
        ("ab", "mean", None, "lacks c"),
        ("abc", "median", None, "median"),
        ("abc", "mean", [1], "2 numbers"),
        ("abc", "mean", [1, 0], "above 0"),
        ("abc", "majority", [1, 2], "one vote"),
    ],
)
def test_members_that_do_not_fit_are_refused(names, rule, weights, message):
    members = [member(Fixed([0.1] * 3)), member(Fixed([0.1] * len(names)), names)]
    with pytest.raises(ConfigError, match=message):
        Ensemble(members, rule, weights)


def test_disagreement_is_the_share_of_members_outvoted():
    mask, disagreement = Ensemble(votes(1, 1, 0, 2)).predict_with_disagreement(IMAGE)
    assert (disagreement == 128).all() and mask.shape == (300, 40)
    assert (Ensemble(votes(1, 1)).predict_with_disagreement(IMAGE)[1] == 0).all()


@pytest.mark.parametrize(
    "cuts", [[1], [300], [7, 100, 101, 299], [128], [127, 129, 256], list(range(1, 300))]
)
def test_bands_are_regrouped_without_loss(cuts):
    rows = torch.arange(300.0).view(-1, 1, 1).expand(300, 2, 3)
    bounds = [0, *cuts, 300]
    shared = torch.empty(300, 2, 3)

    def stream():
        for a, b in pairwise(bounds):
            shared[: b - a] = rows[a:b]  # the memory is reused, as the predictor reuses it
            yield Band(a, shared[: b - a])

    got = [(band.top, band.scores.clone()) for band in even_bands(stream(), 300, 128)]
    assert [top for top, _ in got] == [0, 128, 256]
    assert torch.equal(torch.cat([scores for _, scores in got]), rows)
