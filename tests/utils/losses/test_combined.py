"""Sums of losses."""

from __future__ import annotations

import pytest
import torch

from tests.utils.losses.examples import small_batch
from utils.errors import ConfigError
from utils.losses import CE_DiceLoss, CrossEntropyLoss2d, DiceLoss, Sum


@pytest.mark.parametrize(
    ("loss", "full", "void"),
    [
        (CE_DiceLoss(), 1.8744089377 + 0.6477085207, 1.9740649449 + 0.6563383257),
    ],
)
def test_known_values(loss, full, void):
    assert loss(*small_batch(void=False)).item() == pytest.approx(full, abs=1e-10)
    assert loss(*small_batch()).item() == pytest.approx(void, abs=1e-10)
    assert loss(*small_batch(dtype=torch.float32)).item() == pytest.approx(void, abs=2e-6)


def test_sum_builds_its_terms():
    logits, target = small_batch()
    terms = [{"type": "CrossEntropyLoss2d"}, {"type": "DiceLoss", "args": {"smooth": 0.5}, "weight": 0.25}]
    expected = CrossEntropyLoss2d()(logits, target) + 0.25 * DiceLoss(0.5)(logits, target)
    assert Sum(terms)(logits, target).item() == pytest.approx(expected.item(), abs=1e-12)
    weighted = Sum(terms, weight=[1.0, 2.0, 3.0])
    assert [term.weight.tolist() for term in weighted.terms] == [[1, 2, 3], [1, 2, 3]]
    assert weighted.to("meta").terms[0].weight.device.type == "meta"


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([{"type": "DiceLos"}], r"terms\[0\]\.type.*did you mean 'DiceLoss'"),
        ([{"type": "DiceLoss", "args": {"smoth": 1}}], r"terms\[0\]\.args\.smoth.*'smooth'"),
        ([{"type": "DiceLoss", "factor": 1}], r"terms\[0\]\.factor"),
        ([{"type": "DiceLoss"}, {"type": "DiceLoss", "weight": -1}], r"terms\[1\]\.weight"),
        ([{"weight": 1}], r"terms\[0\]\.type"),
    ],
)
def test_sum_names_its_mistakes(terms, message):
    with pytest.raises(ConfigError, match=message):
        Sum(terms)
