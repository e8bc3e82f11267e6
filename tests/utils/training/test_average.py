"""Averages of weights: the formula of the ramp, and torch's own average and statistics over the last epochs."""

from __future__ import annotations

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, update_bn

from tests.parts import RandomBatches, TinyNet, make_trainer
from utils.data.prefetch import Prefetcher
from utils.run.checkpoint import load_checkpoint
from utils.training.average import ExponentialAverage


def changed(model: torch.nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()


def test_the_ramp_follows_its_formula_and_averages_the_statistics_too():
    torch.manual_seed(0)
    model = TinyNet(3)
    average = ExponentialAverage(model, 0.5, ramp=True)
    expected: dict[str, torch.Tensor] = {}
    for step, decay in enumerate((0.0, 2 / 11, 3 / 12, 4 / 13, 5 / 14, 6 / 15, 7 / 16, 8 / 17, 0.5, 0.5)):
        changed(model)
        model.norm.running_mean.normal_()
        average.update_parameters(model)
        assert step == 0 or average.decay_at(step) == pytest.approx(decay)
        now = {k: v for k, v in model.state_dict().items() if v.is_floating_point()}
        expected = {k: decay * expected.get(k, v) + (1 - decay) * v for k, v in now.items()}
    ours = average.module.state_dict()
    assert "norm.running_mean" in expected
    for name, value in expected.items():
        torch.testing.assert_close(ours[name], value)


class NoDrop(TinyNet):
    """Torch estimates statistics in training mode, which draws dropout."""

    def __init__(self) -> None:
        super().__init__(3)
        self.drop = torch.nn.Identity()


def test_the_last_epochs_are_averaged_as_torch_does_it(tmp_path):
    torch.manual_seed(0)
    trainer = make_trainer(tmp_path / "run", model=NoDrop(), epochs=4, swa_epochs=3, save_period=1)
    assert trainer.evaluated() is trainer.model  # before the first of them
    trainer.train()
    oracle = AveragedModel(NoDrop())
    for epoch in (2, 3, 4):
        state = load_checkpoint(trainer.run.path / f"checkpoint-epoch{epoch}.pth")
        model = NoDrop()
        model.load_state_dict(state["model"])
        oracle.update_parameters(model)
    loader = RandomBatches(7)
    loader.set_epoch(4)
    images = [batch.images for batch in Prefetcher(loader, trainer.device, trainer.info)]
    update_bn(images, oracle)
    state = load_checkpoint(trainer.run.last)
    for name, value in oracle.module.state_dict().items():
        torch.testing.assert_close(state["ema"][name], value)
    assert load_checkpoint(trainer.run.path / "checkpoint-epoch1.pth")["ema"] is None
    assert not torch.equal(state["ema"]["norm.running_mean"], state["model"]["norm.running_mean"])
