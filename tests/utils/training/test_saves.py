"""The checkpoints of a run: no state that is not finite reaches a file."""

from __future__ import annotations

import math
import signal

import pytest
import torch

from tests.parts import RandomBatches, TinyNet, make_trainer
from utils.errors import CheckpointError, NonFiniteError
from utils.run.checkpoint import load_checkpoint, save_checkpoint


def one_step_epochs(folder, optimizer=None, **options):
    """A run of one step per epoch whose optimizer is replaced."""
    trainer = make_trainer(folder, train_loader=RandomBatches(1), save_period=1, **options)
    if optimizer is not None:
        trainer.stepper.optimizer = optimizer(trainer.model.parameters())
    return trainer


def saved_files(trainer) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(trainer.run.path.glob("*.pth"))}


OPTIMIZERS = {
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01, eps=0),
    "Adagrad": lambda parameters: torch.optim.Adagrad(parameters, lr=0.01, eps=0),
}


class DeadUnit(TinyNet):
    """A channel whose gradients are exactly 0, which an optimizer without eps divides by 0."""

    def _forward(self, images):
        features = self.drop(torch.relu(self.norm(self.first(images))))
        return self.last(features * torch.tensor([0.0] + 7 * [1.0]).view(1, 8, 1, 1))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("epochs", [1, 3])
def test_weights_that_an_update_ruined_are_never_saved(tmp_path, optimizer, epochs):
    trainer = one_step_epochs(tmp_path / "run", OPTIMIZERS[optimizer], model=DeadUnit(3), epochs=epochs)
    with pytest.raises(
        NonFiniteError, match=r"'model\.\S+' is not finite after step 1.*No checkpoint"
    ) as caught:
        trainer.train()
    assert caught.value.exit_code == 3
    assert saved_files(trainer) == {}


def ruin_weights(trainer):
    trainer.model.last.bias.data[0] = math.nan


def ruin_buffers(trainer):
    trainer.model.norm.running_var[3] = math.inf


def ruin_average(trainer):
    trainer.stepper.ema.module.last.weight.data[0, 0] = -math.inf


def ruin_moments(trainer):
    next(iter(trainer.stepper.optimizer.state.values()))["momentum_buffer"].view(-1)[0] = math.nan


@pytest.mark.slow
@pytest.mark.parametrize("ruin", [ruin_weights, ruin_buffers, ruin_average, ruin_moments])
def test_the_older_files_are_kept_and_the_message_says_which(tmp_path, ruin):
    trainer = one_step_epochs(tmp_path / "run", epochs=3, ema_decay=0.9)
    files, steps = {}, []
    original = trainer.stepper.step

    def step():
        original()
        steps.append(1)
        if len(steps) == 3:
            files.update(saved_files(trainer))
            ruin(trainer)

    trainer.stepper.step = step
    with pytest.raises(
        NonFiniteError, match="is not finite after step 3.*is finite .the end of epoch 2"
    ) as caught:
        trainer.train()
    assert f"--resume {trainer.run.path} --allow-change --set" in str(caught.value)
    assert saved_files(trainer) == files and len(files) >= 4
    for path in trainer.run.path.glob("*.pth"):
        assert all(v.isfinite().all() for v in load_checkpoint(path)["model"].values())


def test_a_signal_does_not_save_ruined_weights_either(tmp_path):
    trainer = make_trainer(tmp_path / "run")
    original = trainer.stepper.step

    def step():
        original()
        ruin_weights(trainer)
        signal.raise_signal(signal.SIGTERM)

    trainer.stepper.step = step
    with pytest.raises(NonFiniteError):
        trainer.train()
    assert saved_files(trainer) == {}


def test_the_message_is_true_where_a_gradient_is_not_finite_without_clipping(tmp_path):
    trainer = make_trainer(tmp_path / "run")
    steps = []
    trainer.model.last.weight.register_hook(lambda g: g * math.inf if len(steps) == 9 else steps.append(1))
    with pytest.raises(
        NonFiniteError, match=r"gradient is not finite at step 9 .*finite .the end of epoch 1"
    ):
        trainer.train()
    assert load_checkpoint(trainer.run.last)["global_step"] == 7


def test_a_checkpoint_that_an_older_version_ruined_is_refused(tmp_path):
    trainer = make_trainer(tmp_path / "run", epochs=1)
    trainer.train()
    state = load_checkpoint(trainer.run.last)
    state["model"]["last.bias"][0] = math.nan
    save_checkpoint(trainer.run.last, state)
    resumed = make_trainer(trainer.run.path, epochs=2)
    resumed.load_state_dict(load_checkpoint(resumed.run.last))
    with pytest.raises(CheckpointError, match="'model.last.bias' is not finite, so nothing can be trained"):
        resumed.train()
