"""Batch norm: statistics estimated again, and those that must stay."""

from __future__ import annotations

import pytest
import torch

from tests.parts import TinyNet, make_trainer
from utils.errors import ConfigError
from utils.training.batch_norm import estimate_statistics


def fresh(**freezes: bool) -> TinyNet:
    torch.manual_seed(0)
    return TinyNet(3, **freezes)


def test_statistics_are_the_means_over_batches_and_nothing_is_drawn():
    model, images = fresh(), [torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8) + 1]
    features = [model.first(batch).detach() for batch in images]
    state = torch.get_rng_state()
    estimate_statistics(model, images, lambda net, batch: net(batch))
    mean = torch.stack([f.mean((0, 2, 3)) for f in features]).mean(0)
    var = torch.stack([f.transpose(0, 1).flatten(1).var(1) for f in features]).mean(0)
    torch.testing.assert_close(model.norm.running_mean, mean)
    torch.testing.assert_close(model.norm.running_var, var)
    assert torch.equal(state, torch.get_rng_state())
    assert (model.norm.momentum, model.training, model.norm.training) == (0.1, False, False)


def test_statistics_stay_where_they_are_frozen_unused_or_the_pass_ends_early():
    def failing():
        yield torch.randn(4, 3, 8, 8)
        raise KeyboardInterrupt

    frozen = fresh(freeze_bn=True)
    estimate_statistics(frozen, [torch.randn(4, 3, 8, 8)], lambda net, batch: net(batch))
    unused = fresh()
    estimate_statistics(unused, [torch.randn(4, 3, 8, 8)], lambda net, batch: net.first(batch))
    stopped = fresh()
    with pytest.raises(KeyboardInterrupt):
        estimate_statistics(stopped, failing(), lambda net, batch: net(batch))
    for model in (frozen, unused, stopped):
        assert not model.norm.running_mean.any() and model.norm.momentum == 0.1
        assert (model.norm.running_var == 1).all()


def test_frozen_statistics_stay_and_their_weights_train(tmp_path):
    trainer = make_trainer(tmp_path / "run", epochs=4, bn_freeze_from=0.5, bn_momentum=0.3, save_period=1)
    norm, seen = trainer.model.norm, []
    original = trainer.train_step

    def train_step(group):
        before = norm.running_mean.clone(), norm.weight.detach().clone()
        original(group)
        seen.append(
            [not torch.equal(a, b) for a, b in zip(before, (norm.running_mean, norm.weight), strict=True)]
        )

    trainer.train_step = train_step
    trainer.train()
    assert seen == [[True, True]] * 14 + [[False, True]] * 14
    assert norm.momentum == 0.3


@pytest.mark.parametrize("option", [{"bn_momentum": 0.1}, {"bn_freeze_from": 0.5}])
def test_a_model_without_batch_norm_is_refused(tmp_path, option):
    model = fresh()
    model.norm = torch.nn.Identity()
    with pytest.raises(ConfigError, match=rf"trainer\.{next(iter(option))}: TinyNet has no batch norm"):
        make_trainer(tmp_path / "run", model=model, **option)
