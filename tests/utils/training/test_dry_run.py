"""The dry run takes the steps of the run and leaves no trace."""

from __future__ import annotations

import json
import logging
import re
import resource
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import dataloaders
from base import SegmentationOutput
from tests.parts import RandomBatches, TinyNet, make_trainer
from trainer import Trainer
from utils.config.sections import SchedulerSection
from utils.errors import ConfigError, Interrupted, NonFiniteError
from utils.run.checkpoint import load_checkpoint
from utils.training.dry_run import dry_run


class Batches(RandomBatches):
    """Random batches, of which the largest images are twice as large."""

    def largest_batch(self):
        return next(iter(RandomBatches(1, size=2 * self.size)))


class WithStop(Trainer):
    """Stops after three batches as a signal would."""

    def step_done(self, batches):
        super().step_done(batches)
        if self.step == 3:
            self.save()
            raise Interrupted("stopped", 15)


def make(folder: Path, cls: type[Trainer] = Trainer, **options: Any) -> Trainer:
    torch.manual_seed(0)
    if options.pop("aux", False):
        options["model"] = TinyNet(3, aux=True)
    options = {"train_loader": Batches(7), "val_loader": Batches(2), **options}
    return make_trainer(folder, cls=cls, **options)


def flat(value: Any, place: str = "") -> dict[str, Any]:
    """Every tensor and plain value of a state by its place."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in flat(item, f"{place}.{key}").items()}
    if isinstance(value, (list, tuple)):
        return {k: v for i, item in enumerate(value) for k, v in flat(item, f"{place}[{i}]").items()}
    return {place: value.clone() if isinstance(value, torch.Tensor) else value}


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(a, other[k]) if isinstance(a, torch.Tensor) else a == other[k] for k, a in one.items()
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def everything(trainer: Trainer) -> dict[str, Any]:
    """All that a dry run could change."""
    return {
        **flat(trainer.state_dict()),
        "position": trainer.train_loader.position,
        "training": [module.training for module in trainer.model.modules()],
        "grad": [parameter.grad is None for parameter in trainer.model.parameters()],
        "files": contents(trainer.run.path),
    }


VARIANTS = {
    "plain": {},
    "all at once": {"accumulate_steps": 3, "clip_grad_norm": 1.0, "ema_decay": 0.9, "aux": True},
    "bf16": {"precision": "bf16", "ema_decay": 0.5},
    "fp16": {"precision": "fp16", "clip_grad_norm": 1.0},
    "one cycle": {"scheduler": SchedulerSection("OneCycle")},
    "epochs": {"scheduler": SchedulerSection("StepLR", {"step_size": 1}, warmup_epochs=1)},
    "plateau": {"scheduler": SchedulerSection("ReduceLROnPlateau", {"patience": 0})},
    "no validation": {"val": False},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_state_is_what_it_was_to_the_bit(tmp_path, variant):
    trainer = make(tmp_path / "run", **VARIANTS[variant])
    before = everything(trainer)
    dry_run(trainer)
    assert equal(before, everything(trainer))


@pytest.mark.slow
def test_a_run_after_a_dry_run_is_the_same_run(tmp_path):
    options = VARIANTS["all at once"]
    states = []
    for checked in (False, True):
        trainer = make(tmp_path / str(checked), **options)
        if checked:
            dry_run(trainer)
        trainer.train()
        states.append(flat(trainer.state_dict()))
    assert equal(*states)


def test_a_run_stopped_in_the_middle_of_an_epoch_is_left_there(tmp_path):
    stopped = make(tmp_path / "run", cls=WithStop, ema_decay=0.9)
    with pytest.raises(Interrupted):
        stopped.train()
    resumed = make(stopped.run.path, ema_decay=0.9)
    resumed.load_state_dict(load_checkpoint(resumed.run.last))
    before = everything(resumed)
    dry_run(resumed)
    assert resumed.step == 3 and equal(before, everything(resumed))


def test_it_takes_two_steps_of_a_group_and_validates_the_largest_images(tmp_path, caplog):
    trainer = make(tmp_path / "run", accumulate_steps=3)
    seen = []
    trainer.model.register_forward_pre_hook(
        lambda model, args: seen.append((model.training, args[0].shape[-1]))
    )
    with caplog.at_level(logging.INFO):
        dry_run(trainer)
    assert seen == [(True, 16)] * 6 + [(False, 32)]
    assert sum(message.startswith("ok: ") for message in caplog.messages) == 4
    assert caplog.messages[-1] == "Ready: 3 epochs of 7 batches. Nothing was kept."


def test_an_auxiliary_head_with_a_class_too_few_fails(tmp_path):
    class Short(TinyNet):
        def _forward(self, images):
            logits = super()._forward(images)
            return SegmentationOutput(logits, (logits[:, :-1],)) if self.training else logits

    trainer = make(tmp_path / "run", model=Short(3))
    with pytest.raises(ConfigError, match=r"returned the shape \(2, 2, 16, 16\); expected \(N, 3, H, W\)"):
        dry_run(trainer)


PARTS = {
    "clipping": ("torch.nn.utils.clip_grad_norm_", None),
    "the optimizer": ("optimizer", "step"),
    "the schedule after a step": ("schedule", "step_done"),
    "the schedule after an epoch": ("schedule", "epoch_done"),
    "the average": ("ema", "update_parameters"),
}


@pytest.mark.parametrize("part", PARTS)
def test_an_error_of_a_part_shows_and_is_undone(tmp_path, monkeypatch, part):
    class Broken(Exception):
        pass

    def fail(*args, **kwargs):
        raise Broken

    trainer = make(tmp_path / "run", clip_grad_norm=1.0, ema_decay=0.9)
    before = everything(trainer)
    owner, method = PARTS[part]
    if method is None:
        monkeypatch.setattr(owner, fail)
    else:
        monkeypatch.setattr(getattr(trainer.stepper, owner), method, fail)
    with pytest.raises(Broken):
        dry_run(trainer)
    assert equal(before, everything(trainer))


def test_a_loss_that_is_not_finite_shows(tmp_path):
    trainer = make(tmp_path / "run")
    with torch.no_grad():
        trainer.model.last.weight.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match="e1s0i0, e1s0i1"):
        dry_run(trainer)


def test_the_memory_is_the_peak_of_this_process(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        dry_run(make(tmp_path / "run"))
    (line,) = (message for message in caplog.messages if message.startswith("Peak memory"))
    gib = float(re.fullmatch(r"Peak memory: (\d+\.\d\d) GiB in the process", line)[1])
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    assert 0.8 * pages * resource.getpagesize() / 2**30 <= gib <= peak + 0.01


def test_without_proc_the_system_is_asked_for_the_peak(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("utils.system.memory.PROC", tmp_path / "missing")
    with caplog.at_level(logging.INFO):
        dry_run(make(tmp_path / "run"))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
        dry_run(make(tmp_path / "second"))
    lines = [message for message in caplog.messages if message.startswith("Peak memory")]
    assert float(lines[0].split()[2]) == pytest.approx(peak, abs=0.02)
    assert lines[1] == "Peak memory: not measured on this system"


def test_a_run_of_one_step_is_given_one(tmp_path):
    """A second one would be past the end of the schedule."""
    options = {"train_loader": Batches(1), "epochs": 1, "scheduler": SchedulerSection("OneCycle")}
    trainer = make(tmp_path / "run", **options)
    dry_run(trainer)
    trainer.train()
    assert trainer.stepper.steps == 1


def test_a_finished_run_has_nothing_to_check(tmp_path, caplog):
    trainer = make(tmp_path / "run", epochs=1)
    trainer.train()
    before = everything(trainer)
    with caplog.at_level(logging.INFO):
        dry_run(trainer)
    assert caplog.messages[-1].startswith("Nothing to check")
    assert equal(before, everything(trainer))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_real_loader_stays_at_its_epoch(tmp_path, workers):
    loaders = [
        dataloaders.Shapes(
            split=split, batch_size=4, num_images=8, image_size=32, val=val, num_workers=workers
        )
        for split, val in (("train", False), ("val", True))
    ]
    train, val = loaders
    train.set_epoch(5, 1)
    trainer = make(tmp_path / "run", model=TinyNet(7), train_loader=train, val_loader=val)
    dry_run(trainer)
    assert train.position == (5, 1)
    trainer.train()
    records = trainer.run.metrics.read_text().splitlines()
    assert [json.loads(record)["epoch"] for record in records] == [1, 2, 3]


@pytest.mark.parametrize("batches", [1, 7])
def test_an_update_that_ruins_the_weights_is_reported_as_training_does(tmp_path, batches):
    def make_ruined(name: str) -> Trainer:
        trainer = make(tmp_path / name, train_loader=Batches(batches), epochs=1, save_minutes=1e-9)
        trainer.model.first.bias.register_hook(torch.zeros_like)  # its update is 0 / 0
        trainer.stepper.optimizer = torch.optim.Adam(trainer.model.parameters(), eps=0)
        return trainer

    trainer = make_ruined("run")
    before = everything(trainer)
    reason = r"'model\.first\.bias' is not finite after step 1, so this state was not saved"
    with pytest.raises(NonFiniteError, match=reason) as caught:
        dry_run(trainer)
    assert equal(before, everything(trainer))  # undone
    with pytest.raises(NonFiniteError) as expected:
        make_ruined("trained").train()
    assert str(expected.value).startswith(str(caught.value))
