"""The estimate of a run on a clock that the test sets."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from tests.parts import make_trainer
from tests.utils.training.test_dry_run import Batches, equal, everything
from trainer import Trainer
from utils.config.sections import SchedulerSection
from utils.errors import StorageError
from utils.training.estimate import Estimate, estimate, kept_checkpoints, log_estimate


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Timed(Trainer):
    """A step takes 3 s, 8 s more for each batch that was not read before, and the first step 100 s."""

    clock = Clock()
    reads = 8.0

    def train_step(self, group):
        super().train_step(group)
        seen = self.__dict__.setdefault("seen", {"": None})
        new = [batch.image_ids for batch in group if batch.image_ids not in seen]
        self.clock.now += (100 if len(seen) == 1 else 3) + self.reads * len(new)
        seen.update(dict.fromkeys(new))

    def validate_batch(self, model, batch, figures):
        self.clock.now += 2 if batch.images.shape[-1] == 16 else 50  # the largest
        return super().validate_batch(model, batch, figures)


def make(folder, **options: Any) -> Timed:
    loaders = {"train_loader": Batches(7), "val_loader": Batches(5)}
    return make_trainer(folder, cls=Timed, **{**loaders, **options})


def test_steps_validations_and_the_cache_of_the_first_epoch_add_up(tmp_path):
    options = {"accumulate_steps": 2, "epochs": 10, "val_per_epochs": 4, "ema_decay": 0.9}
    trainer = make(tmp_path / "run", **options, scheduler=SchedulerSection("OneCycle"))
    before = everything(trainer)
    result = estimate(trainer, caches=True, clock=trainer.clock)
    assert equal(before, everything(trainer))
    assert (result.epochs, result.steps, result.validations) == (10, 40, 3)
    assert result.step_seconds == 3 and result.validation_seconds == 5 * 2
    # the five steps measured first read 2, 1, 2, 2, 2 batches
    assert result.cache_seconds == pytest.approx(4 * 8 * 9 / 5)
    assert result.seconds == pytest.approx(40 * 3 + 4 * 8 * 9 / 5 + 3 * 10)
    assert result.checkpoint_bytes > 1000 and "GiB in the process" in result.memory


def test_a_run_that_continues_has_less_left(tmp_path):
    trainer = make(tmp_path / "run", val=False)
    trainer.reads = 0
    trainer.epoch, trainer.step = 2, 5
    result = estimate(trainer, clock=trainer.clock)
    assert (result.epochs, result.steps, result.validations) == (2, 2 + 7, 0)
    assert result.seconds == pytest.approx(9 * 3)
    trainer.epoch, trainer.step = 4, 0
    assert estimate(trainer) is None


def test_an_estimate_is_three_lines(tmp_path, caplog, monkeypatch):
    trainer = make(tmp_path / "run", epochs=20, save_period=5, keep_checkpoints=3, early_stop=4)
    loader = SimpleNamespace(args={})
    experiment = SimpleNamespace(trainer=trainer.options, train_loader=loader, val_loader=None)
    result = Estimate(20, 2000, 1.5, 100.0, 20, 25.0, 5.0, 2**30, "1.50 GiB in the process")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=7 * 2**30))
    with caplog.at_level(logging.INFO):
        log_estimate(result, trainer, experiment)
        log_estimate(None, trainer, experiment)
    time, memory, disk, nothing = caplog.messages
    assert time == "Time: at most about 62 min for 20 epochs: 2000 steps of 1.5 s, 20 validations of 25 s"
    assert memory.startswith("Memory: 1.50 GiB in the process at the peak; ")
    assert disk == "Disk: at most 6 checkpoints of 1.00 GiB; 7.00 GiB are free. Nothing was kept."
    assert nothing == "Nothing to estimate: no training step is left of 20 epochs"
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=5 * 2**30))
    with pytest.raises(StorageError, match=r"saved/: the disk is too small for 6 checkpoints of 1\.00 GiB"):
        log_estimate(result, trainer, experiment)


def test_checkpoints_of_a_run_folder(tmp_path):
    trainer = make(tmp_path / "run", epochs=3, save_period=1, keep_checkpoints=2)
    trainer.train()
    names = {path.stat().st_ino for path in trainer.run.path.glob("*.pth")}
    assert len(names) <= kept_checkpoints(trainer.options) == 5
    assert json.loads(trainer.run.metrics.read_text().splitlines()[-1])["epoch"] == 3
