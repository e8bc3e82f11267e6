"""When epochs run and what is saved: periods, the best, early stopping, groups of batches, checkpoints."""

from __future__ import annotations

import json
import math

import pytest
import torch

from tests.parts import INFO, RandomBatches, TinyNet, make_trainer
from trainer import Trainer
from utils.errors import CheckpointError, ConfigError
from utils.run.checkpoint import load_checkpoint


def lines(trainer):
    return [json.loads(line) for line in trainer.run.metrics.read_text().splitlines()]


class Scripted(Trainer):
    """Reports given validation figures."""

    script: list[float]

    def _valid_epoch(self, epoch):
        figures = super()._valid_epoch(epoch)
        return {**figures, "Mean_IoU": self.script[epoch - 1]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "best"),
    [([0.1, 0.3, 0.2, 0.3], 2), ([math.nan, 0.1, 0.2, 0.1], 3), ([0.4, 0.3, 0.2, 0.1], 1)],
)
def test_best_is_saved_when_it_improves_whatever_the_save_period(tmp_path, script, best):
    trainer = make_trainer(tmp_path / "run", cls=Scripted, epochs=4, save_period=3, early_stop=0)
    trainer.script = script
    trainer.train()
    assert load_checkpoint(trainer.run.best)["epoch"] == best + 1
    assert load_checkpoint(trainer.run.last)["epoch"] == 5
    assert [p.name for p in trainer.run.all_numbered()] == ["checkpoint-epoch3.pth"]


@pytest.mark.slow
@pytest.mark.parametrize(("early_stop", "epochs"), [(0, 6), (1, 3), (2, 4)])
def test_early_stop_counts_validations_and_saves_first(tmp_path, early_stop, epochs):
    trainer = make_trainer(tmp_path / "run", cls=Scripted, epochs=6, early_stop=early_stop)
    trainer.script = [0.1, 0.5, 0.4, 0.4, 0.4, 0.4]
    trainer.train()
    assert len(lines(trainer)) == epochs
    assert load_checkpoint(trainer.run.last)["epoch"] == epochs + 1


@pytest.mark.slow
def test_numbered_checkpoints_kept(tmp_path):
    trainer = make_trainer(tmp_path / "run", epochs=5, save_period=1, keep_checkpoints=2)
    trainer.train()
    names = [p.name for p in trainer.run.all_numbered()]
    assert names == ["checkpoint-epoch4.pth", "checkpoint-epoch5.pth"]


@pytest.mark.slow
def test_validation_period_and_the_last_epoch(tmp_path):
    trainer = make_trainer(tmp_path / "run", epochs=5, val_per_epochs=2)
    trainer.train()
    assert [record["val"] is not None for record in lines(trainer)] == [False, True, False, True, True]


def test_without_validation_the_training_figures_decide(tmp_path):
    trainer = make_trainer(tmp_path / "run", val=False, epochs=2)
    trainer.train()
    assert trainer.run.best.exists()


def test_validation_without_data_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="val_loader: missing"):
        make_trainer(tmp_path / "run", val_loader=[])


@pytest.mark.slow
def test_checkpoint_holds_what_inference_needs_and_no_wrapper(tmp_path):
    trainer = make_trainer(tmp_path / "run")
    trainer.train()
    saved = torch.load(trainer.run.last, weights_only=True)
    assert saved["model"].keys() == TinyNet(3).state_dict().keys()
    assert saved["dataset"] == INFO.to_plain()
    assert saved["arch"] == {"type": "TinyNet"}


@pytest.mark.parametrize(("accumulate", "step", "sizes"), [
    (1, 0, [1] * 7), (3, 0, [3, 3, 1]), (3, 3, [3, 1]), (3, 6, [1]), (9, 0, [7]), (3, 7, []),
])  # fmt: skip
def test_groups_are_the_batches_of_a_step_from_the_current_one_on(tmp_path, accumulate, step, sizes):
    trainer = make_trainer(tmp_path / "run", accumulate_steps=accumulate)
    trainer.step = step
    groups = list(trainer.train_groups(2))
    assert [len(group) for group in groups] == sizes
    assert trainer.train_loader.opened == [(2, number) for number in range(step, 7)]
    names = [name for group in groups for batch in group for name in batch.image_ids]
    assert names == [f"e2s{number}i{i}" for number in range(step, 7) for i in range(2)]


@pytest.mark.parametrize(("minutes", "saves"), [(0, []), (2, [3, 6]), (15, [])])
def test_a_long_epoch_is_saved_every_few_minutes(tmp_path, monkeypatch, minutes, saves):
    trainer = make_trainer(tmp_path / "run", save_minutes=minutes)
    clock = [trainer._saved_at]
    monkeypatch.setattr("base.base_trainer.time.monotonic", lambda: clock[0])
    saved = []
    for step in range(1, 8):
        clock[0] += 50.0
        trainer.step_done(1)
        if trainer.run.last.exists():
            saved.append(load_checkpoint(trainer.run.last)["step"])
            trainer.run.last.unlink()
        assert trainer.step == step
    assert saved == saves


def test_a_state_in_the_middle_of_an_epoch_of_another_length_is_refused(tmp_path):
    trainer = make_trainer(tmp_path / "a")
    trainer.step = 2
    state = trainer.state_dict()
    shorter = make_trainer(tmp_path / "b", train_loader=RandomBatches(5))
    with pytest.raises(CheckpointError, match=r"during an epoch of 7 batches; the epochs of this run have 5"):
        shorter.load_state_dict(state)
    shorter.load_state_dict({**state, "step": 0})  # between two epochs it does not matter
    assert shorter.step == 0


def test_a_state_of_another_model_is_refused_with_the_reason(tmp_path):
    state = make_trainer(tmp_path / "a").state_dict()
    other = make_trainer(tmp_path / "b", model=TinyNet(3, aux=True))
    with pytest.raises(CheckpointError, match="does not fit this config: Error.* TinyNet"):
        other.load_state_dict(state)


def test_the_evaluated_model_is_in_eval_mode(tmp_path):
    trainer = make_trainer(tmp_path / "run")
    trainer.model.train()
    model = trainer.evaluated()
    assert model is trainer.model and not any(module.training for module in model.modules())


def test_validation_switched_off_needs_no_data_and_ignores_it(tmp_path):
    assert make_trainer(tmp_path / "run", val=False).val_loader is None


@pytest.mark.slow
def test_the_log_ends_with_the_best_epoch(tmp_path, caplog):
    trainer = make_trainer(tmp_path / "run", cls=Scripted, early_stop=1)
    trainer.script = [0.5, 0.4, 0.6]
    with caplog.at_level("INFO"):
        trainer.train()
    assert caplog.messages[-2:] == [
        "Stopped early: 1 validations without improvement",
        f"Best val_Mean_IoU: 0.5000 (epoch 1): {trainer.run.best}",
    ]
