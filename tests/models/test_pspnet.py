"""Auxiliary head of PSPNet and PSPDenseNet."""

from __future__ import annotations

import pytest
import torch

from models import PSPNet
from tests.models.catalogue import smallest


@pytest.mark.slow
def test_the_auxiliary_head_is_for_training_and_optional():
    images = torch.randn(2, 3, 33, 40)
    model = smallest("PSPNet").train()
    output = model(images)
    assert [aux.shape for aux in output.aux] == [output.logits.shape]
    assert model.eval()(images).aux == ()
    assert smallest("PSPNet", use_aux=False).train()(images).aux == ()


def test_a_deep_stem_has_no_published_weights():
    with pytest.raises(ValueError, match="deep_stem"):
        PSPNet(2, deep_stem=True)
