"""What differs by epoch, together: exact when a run is stopped and resumed, and the same for any workers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock

from base import BaseModel
from models.auxiliary import auxiliary_head, with_auxiliary
from models.stochastic_depth import drop_residuals
from tests.experiments import open_data
from tests.parts import make_trainer
from tests.test_trainer import StopsAt, lines, same
from utils.config.sections import TrainerSection
from utils.errors import Interrupted
from utils.run.checkpoint import load_checkpoint
from utils.training.phases import crop_sizes, largest_crop_epoch, progress_at

ARGS: dict[str, Any] = {
    "split": "train", "num_images": 6, "image_size": 24, "batch_size": 2, "shuffle": True, "crop_size": 24,
}  # fmt: skip
CROPS = [[0.3, 8], [0.6, [16, 12]]]


class Residual(BaseModel):
    """Stochastic depth, dropout and an auxiliary head, which draw and are trained in one small network."""

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__(num_classes, in_channels)
        self.first = nn.Conv2d(in_channels, 4, 3, padding=1)
        self.blocks = nn.Sequential(BasicBlock(4, 4), BasicBlock(4, 4))
        drop_residuals(list(self.blocks), 0.5)
        self.last = nn.Conv2d(4, num_classes, 1)
        self.aux = auxiliary_head(4, num_classes)

    def _forward(self, images):
        features = self.blocks(F.relu(self.first(images)))
        return with_auxiliary(self, self.last(features), features)


def loader(**args: Any):
    return open_data({"type": "Shapes", "args": {**ARGS, **args}})


def trainer_of(folder, seed: int = 0, **options: Any):
    torch.manual_seed(0)
    val = loader(split="val", num_images=2, shuffle=False, val=True)
    return make_trainer(
        folder, seed=seed, train_loader=loader(), val_loader=val, model=Residual(7), cls=StopsAt,
        **{"epochs": 4, "crop_schedule": CROPS, "bn_momentum": 0.2, **options},
    )  # fmt: skip


VARIANTS = {
    "ramp and frozen statistics": ({"ema_decay": 0.9, "ema_ramp": True, "bn_freeze_from": 0.5}, (8, None)),
    "last epochs": ({"swa_epochs": 2, "bn_freeze_from": 0.75}, (None, 3)),
}


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_run_is_equal_to_the_bit(tmp_path, variant):
    options, (step, validation) = VARIANTS[variant]
    unbroken = trainer_of(tmp_path / "unbroken", **options)
    unbroken.train()
    stopped = trainer_of(tmp_path / "stopped", **options)
    stopped.stop_step, stopped.stop_validation = step, validation
    with pytest.raises(Interrupted):
        stopped.train()
    stopped.run.close()
    resumed = trainer_of(stopped.run.path, seed=99, **options)
    resumed.load_state_dict(load_checkpoint(resumed.run.last))
    resumed.train()
    assert lines(resumed) == lines(unbroken)
    final, expected = load_checkpoint(resumed.run.last), load_checkpoint(unbroken.run.last)
    assert same(final["model"], expected["model"]) and same(final["ema"], expected["ema"])
    assert final["ema_updates"] == expected["ema_updates"] == (2 if "swa_epochs" in options else 12)
    assert torch.equal(final["rng"]["torch"], expected["rng"]["torch"])


@pytest.mark.slow
def test_a_signal_while_statistics_are_estimated_leaves_no_trace_of_them(tmp_path):
    class Signalled(StopsAt):
        def _images_of(self, epoch):
            for number, images in enumerate(super()._images_of(epoch)):
                if self.first_time and number == 1:
                    self._stop.received = 15
                yield images

    runs = []
    for first_time in (False, True):
        torch.manual_seed(0)
        trainer = trainer_of(tmp_path / str(first_time), swa_epochs=1, epochs=2)
        trainer.__class__, trainer.first_time = Signalled, first_time
        if first_time:
            with pytest.raises(Interrupted):
                trainer.train()
            saved = load_checkpoint(trainer.run.last)
            assert (saved["epoch"], saved["step"], saved["ema_updates"]) == (2, 3, 1)
            assert same(saved["ema"], saved["model"])  # of one epoch, with its own statistics
            trainer.run.close()
            trainer = trainer_of(trainer.run.path, swa_epochs=1, epochs=2)
            trainer.load_state_dict(saved)
        trainer.train()
        runs.append(load_checkpoint(trainer.run.last)["ema"])
    assert same(*runs)


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 10, 30, 49])
def test_a_step_of_crops_lasts_while_its_share_of_the_run_is_not_done(epochs):
    schedule = [(share / 10, 8 * share) for share in range(1, 10)]
    found = crop_sizes(TrainerSection(epochs=epochs, crop_schedule=schedule))
    for last, size in found:
        until = dict((side, share) for share, side in schedule)[size[0]]
        assert progress_at(last, epochs) < until <= progress_at(last + 1, epochs)


def test_a_run_of_any_length_is_looked_over_at_once():
    options = TrainerSection(epochs=10**9, crop_schedule=[(0.5, 8)])
    assert crop_sizes(options) == [(5 * 10**8, (8, 8))]
    assert largest_crop_epoch(options, 3) == 10**9
    assert largest_crop_epoch(TrainerSection(epochs=10**9), 3) == 3


def test_crops_follow_the_epoch_in_every_worker():
    options = TrainerSection(epochs=4, crop_schedule=CROPS)
    sizes = crop_sizes(options)
    assert sizes == [(2, (8, 8)), (3, (16, 12))]
    assert [largest_crop_epoch(options, epoch) for epoch in (1, 4)] == [4, 4]
    assert largest_crop_epoch(TrainerSection(epochs=4), 2) == 2
    found = []
    for workers in ({}, {"num_workers": 2}, {"num_workers": 1, "worker_type": "process"}):
        data = loader(num_images=2, mix={"cutmix": {"p": 1.0}, "mosaic": {"p": 1.0}}, **workers)
        data.schedule_crops(sizes)
        shapes = []
        for epoch in (1, 3, 4):
            data.set_epoch(epoch)
            (batch,) = data
            shapes.append((tuple(batch.images.shape), batch.images.sum().item()))
        found.append(shapes)
    assert [shape for shape, _ in found[0]] == [(2, 8, 8, 3), (2, 16, 12, 3), (2, 24, 24, 3)]
    assert found[0] == found[1] == found[2]
