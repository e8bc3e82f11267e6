"""Epochs of training and validation: resuming to the bit, accumulation, averages, losses, events."""

from __future__ import annotations

import functools
import json
import math
import signal

import pytest
import torch
from torch.nn.functional import cross_entropy

from base import SegmentationOutput
from tests.parts import INFO, RandomBatches, TinyNet, make_trainer
from tests.utils.losses.test_training import BoundaryLoss
from trainer import Trainer
from utils.config.factory import Component, build
from utils.config.sections import SchedulerSection
from utils.data.batch import DeviceBatch
from utils.errors import ConfigError, Interrupted, NonFiniteError
from utils.losses.build import LOSSES
from utils.run.checkpoint import load_checkpoint
from utils.run.pace import Pace
from utils.training.figures import RunningFigures


class StopsAt(Trainer):
    """Sends itself a signal after a number of optimizer steps, or in a validation."""

    stop_step: int | None = None
    stop_validation: int | None = None

    def step_done(self, batches):
        if self.stepper.steps == self.stop_step:
            signal.raise_signal(signal.SIGTERM)
        super().step_done(batches)

    def val_batches(self):
        for batch in super().val_batches():
            if self.epoch == self.stop_validation:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)  # a second signal changes nothing
            yield batch


def weights(trainer):
    return {k: v.clone() for k, v in trainer.model.state_dict().items()}


def lines(trainer):
    """The run's records less what the clock decides."""
    records = [json.loads(line) for line in trainer.run.metrics.read_text().splitlines()]
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]


def same(first, second):
    return all(torch.equal(first[k], second[k]) for k in first)


VARIANTS = {
    "plain": {},
    "bf16": {"precision": "bf16"},
    "accumulate": {"accumulate_steps": 3, "clip_grad_norm": 1.0},
    "average": {"ema_decay": 0.9},
    "epoch schedule": {"scheduler": SchedulerSection("StepLR", {"step_size": 1}, warmup_epochs=1)},
}


@pytest.fixture(scope="module")
def unbroken_run(tmp_path_factory):
    """The finished trainer of a variant, trained once."""

    @functools.cache
    def run(variant: str) -> Trainer:
        trainer = make_trainer(tmp_path_factory.mktemp("unbroken") / "run", **VARIANTS[variant])
        trainer.train()
        return trainer

    return run


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("stop", [1, 3, 7, 9, "validation 1", "validation 3"])
def test_resume_is_equal_to_the_bit(tmp_path, unbroken_run, variant, stop):
    options, unbroken = VARIANTS[variant], unbroken_run(variant)
    torch.rand(3)  # another process has another random state
    stopped = make_trainer(tmp_path / "stopped", cls=StopsAt, **options)
    if isinstance(stop, int):
        stopped.stop_step = stop
    else:
        stopped.stop_validation = int(stop[-1])
    with pytest.raises(Interrupted) as caught:
        stopped.train()
    assert caught.value.exit_code == (143 if isinstance(stop, int) else 130)
    folder = stopped.run.path
    stopped.run.close()
    resumed = make_trainer(folder, seed=99, **options)
    resumed.load_state_dict(load_checkpoint(resumed.run.last))
    resumed.train()
    assert same(weights(resumed), weights(unbroken))
    assert lines(resumed) == lines(unbroken)
    final, expected = load_checkpoint(resumed.run.last), load_checkpoint(unbroken.run.last)
    assert final["optimizer"]["param_groups"] == expected["optimizer"]["param_groups"]
    assert final["monitor"] == expected["monitor"]
    assert torch.equal(final["rng"]["torch"], expected["rng"]["torch"])


@pytest.mark.slow
def test_a_lost_terminal_saves_and_exits_with_129(tmp_path, monkeypatch):
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_DFL)  # the tests may run under nohup

    class HangsUp(Trainer):
        def step_done(self, batches):
            signal.raise_signal(signal.SIGHUP)
            super().step_done(batches)

    trainer = make_trainer(tmp_path / "run", cls=HangsUp)
    with pytest.raises(Interrupted) as caught:
        trainer.train()
    assert caught.value.exit_code == 129
    assert load_checkpoint(trainer.run.last)["step"] == 1


def test_resuming_a_finished_run_says_that_nothing_is_left(tmp_path, caplog):
    first = make_trainer(tmp_path / "run", epochs=2)
    first.train()
    again = make_trainer(first.run.path, epochs=2)
    again.load_state_dict(load_checkpoint(again.run.last))
    with caplog.at_level("INFO"):
        again.train()
    assert "nothing to do: 2 of 2 epochs are done" in caplog.messages


@pytest.mark.slow
def test_resuming_opens_no_batch_that_was_done(tmp_path):
    stopped = make_trainer(tmp_path / "run", cls=StopsAt)
    stopped.stop_step = 5
    with pytest.raises(Interrupted):
        stopped.train()
    loader = RandomBatches(7)
    resumed = make_trainer(stopped.run.path, train_loader=loader)
    resumed.load_state_dict(load_checkpoint(resumed.run.last))
    resumed.train()
    assert loader.opened[0] == (1, 5)


@pytest.mark.slow
def test_a_crash_without_any_signal_resumes_from_the_last_epoch(tmp_path):
    unbroken = make_trainer(tmp_path / "unbroken")
    unbroken.train()
    crashed = make_trainer(tmp_path / "crashed")
    original = crashed.step_done

    def crash(batches):
        if crashed.stepper.steps == 10:
            raise SystemExit  # as sudden as a test can be
        original(batches)

    crashed.step_done = crash
    with pytest.raises(SystemExit):
        crashed.train()
    resumed = make_trainer(crashed.run.path)
    resumed.load_state_dict(load_checkpoint(resumed.run.last))
    resumed.train()
    assert same(weights(resumed), weights(unbroken))
    assert lines(resumed) == lines(unbroken)


def test_accumulation_equals_the_big_batch(tmp_path):
    class NoNorm(TinyNet):
        def __init__(self):
            super().__init__(3)
            self.norm, self.drop = torch.nn.Identity(), torch.nn.Identity()

    class Grouped(RandomBatches):
        """The batches of RandomBatches(6), three in one."""

        def __iter__(self):
            parts = list(RandomBatches(6))
            for start in (0, 3):
                three = parts[start : start + 3]
                images, targets = (
                    torch.cat([getattr(p, name) for p in three]) for name in ("images", "target")
                )
                yield type(three[0])(images, targets, sum((p.image_ids for p in three), ()))

    torch.manual_seed(5)
    big_net, small_net = NoNorm().double(), NoNorm().double()
    small_net.load_state_dict(big_net.state_dict())
    big = make_trainer(tmp_path / "a", train_loader=Grouped(2), model=big_net, epochs=1)
    small = make_trainer(
        tmp_path / "b", train_loader=RandomBatches(6), model=small_net, epochs=1, accumulate_steps=3
    )
    for trainer in (big, small):
        trainer.forward = _InDouble(trainer.model)
        trainer._train_epoch(1)
    for one, two in zip(big_net.parameters(), small_net.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-9)
    assert big.figures.losses()["loss"] == pytest.approx(small.figures.losses()["loss"], rel=1e-6)


class _InDouble(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model(images.double())


def test_bar_and_log_say_how_much_is_left(tmp_path, monkeypatch, caplog, capsys):
    """Each step and each validation takes 60 s: 3 epochs of 7 steps, validated after the second and the last."""
    monkeypatch.setattr("trainer._SILENCE", -1.0)  # as if 10 minutes had passed
    trainer = make_trainer(tmp_path / "run", val_per_epochs=2)
    trainer.show_progress, ticks = True, iter(range(0, 60_000, 60))
    trainer.log.pace = Pace(trainer.options, lambda: next(ticks))
    with caplog.at_level("INFO"):
        trainer.train()
    shown = capsys.readouterr().err
    assert "epoch 1/3, about 15 min left:" in shown and "Validation, epoch 2/3, about 7 min left:" in shown
    messages = [message.partition(" loss")[0] for message in caplog.messages if message.startswith("Epoch")]
    assert messages[5:10] == [
        "Epoch 1/3, about 15 min left, batch 6/7,", "Epoch 1/3, about 14 min left, batch 7/7,",
        "Epoch 1/3, about 14 min left, train", "Epoch 2/3, about 13 min left, batch 1/7,",
        "Epoch 2/3, about 12 min left, batch 2/7,",
    ]  # fmt: skip
    assert messages[-9:] == [
        "Epoch 2/3, about 8 min left, train",
        *(f"Epoch 3/3, about {8 - batch} min left, batch {batch}/7," for batch in range(1, 8)),
        "Epoch 3/3, train",
    ]


@pytest.mark.slow
def test_averaged_weights_are_validated_and_saved(tmp_path):
    trainer = make_trainer(tmp_path / "run", ema_decay=0.5)
    assert trainer.evaluated() is trainer.stepper.ema.module
    trainer.train()
    saved = load_checkpoint(trainer.run.last)
    assert not same(saved["ema"], saved["model"])
    assert same(saved["ema"], trainer.stepper.ema.module.state_dict())


@pytest.mark.slow
def test_auxiliary_heads_add_their_share(tmp_path):
    trainer = make_trainer(tmp_path / "run", model=TinyNet(3, aux=True), aux_weight=0.25)
    trainer.train()
    train = lines(trainer)[0]["train"]
    assert train["loss"] == pytest.approx(train["loss_main"] + 0.25 * train["loss_aux"], rel=1e-5)


class Bringing(TinyNet):
    """Brings a loss of a raw output, with divisors of its own, and follows the run's progress."""

    brings_loss = True

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__(num_classes, in_channels)
        self.edges = torch.nn.Conv2d(in_channels, 1, 3, padding=1)
        self.shares: list[float] = []

    def _forward(self, images):
        logits = super()._forward(images)
        return SegmentationOutput(logits, extra=(self.edges(images),)) if self.training else logits

    def build_criterion(self, pixel, aux_weight):
        return BoundaryLoss(pixel, aux_weight)

    def set_progress(self, share):
        self.shares.append(share)


def bringing() -> Bringing:
    torch.manual_seed(0)
    return Bringing(3)


def test_a_model_trains_on_the_loss_that_it_brings_and_is_validated_on_that_of_the_config(tmp_path):
    trainer = make_trainer(tmp_path / "run", model=bringing(), epochs=1, accumulate_steps=3)
    trainer.train()
    (record,) = lines(trainer)
    train, val = record["train"], record["val"]
    assert train["loss"] > train["loss_boundary"] > 0
    assert 0.1 < val["loss"] < 2 and "loss_boundary" not in val
    assert trainer.model.shares == [0, 1 / 3, 2 / 3]


def test_accumulated_batches_give_the_gradient_of_one_big_batch(tmp_path):
    gradients = []
    for size, steps in ((6, 1), (2, 3)):
        trainer = make_trainer(tmp_path / f"run{size}", model=bringing().double(), accumulate_steps=steps)
        trainer.model.train()
        trainer.model.drop.p, trainer.model.norm.momentum = 0.0, 0.0
        trainer.model.norm.eval()
        draw = torch.Generator().manual_seed(1)
        images = torch.randn(6, 3, 16, 16, generator=draw, dtype=torch.float64)
        target = torch.randint(0, 3, (6, 16, 16), generator=draw)
        target[0, :9] = 255
        group = [
            DeviceBatch(images[i : i + size], target[i : i + size], ()) for i in range(0, len(images), size)
        ]
        trainer.stepper.step = lambda: None
        trainer.train_step(group)
        gradients.append([p.grad for p in trainer.model.parameters()])
    for big, parts in zip(*gradients, strict=True):
        assert torch.allclose(big, parts, rtol=1e-6, atol=1e-12)
        assert big.any()


@pytest.mark.slow
def test_a_run_with_a_loss_of_the_model_resumes_to_the_bit(tmp_path):
    unbroken = make_trainer(tmp_path / "unbroken", model=bringing(), epochs=2)
    unbroken.train()
    stopped = make_trainer(tmp_path / "stopped", model=bringing(), cls=StopsAt, epochs=2)
    stopped.stop_step = 4
    with pytest.raises(Interrupted):
        stopped.train()
    resumed = make_trainer(stopped.run.path, model=Bringing(3), seed=9, epochs=2)
    resumed.load_state_dict(load_checkpoint(resumed.run.last))
    resumed.train()
    assert same(weights(resumed), weights(unbroken))
    assert lines(resumed) == lines(unbroken)
    assert resumed.model.shares == unbroken.model.shares[4:]


def test_a_validation_batch_gives_its_prediction_and_adds_its_figures(tmp_path):
    trainer = make_trainer(tmp_path / "run")
    batch = next(iter(trainer.val_batches()))
    figures = RunningFigures(INFO.classes)
    model = trainer.evaluated()
    prediction = trainer.validate_batch(model, batch, figures)
    with torch.no_grad():
        logits = model(batch.images).logits
    assert torch.equal(prediction, logits.argmax(dim=1))
    assert figures.losses()["loss"] == pytest.approx(
        float(cross_entropy(logits, batch.target, ignore_index=255))
    )
    right = (prediction == batch.target)[batch.target != 255]
    assert figures.metrics().pixel_accuracy == pytest.approx(float(right.float().mean()))


@pytest.mark.parametrize("name", [name for name in LOSSES.classes() if name != "Sum"])
def test_the_validation_loss_does_not_depend_on_the_batch_size(tmp_path, name):
    trainer = make_trainer(tmp_path / "run", val_loader=RandomBatches(1, batch_size=5))
    extra = {"min_kept": 20} if name == "OhemCrossEntropy" else {}
    trainer.criterion = build(LOSSES, Component(name, extra), "loss", num_classes=3)
    (batch,) = trainer.val_batches()
    images, target = batch.images, batch.target.clone()
    target[3] = 255  # an image without a label
    target[1, :, :9] = 255  # images have different numbers of valid pixels
    losses = []
    for size in (1, 2, 5):
        figures = RunningFigures(INFO.classes)
        for i in range(0, 5, size):
            part = DeviceBatch(images[i : i + size], target[i : i + size], batch.image_ids[i : i + size])
            trainer.validate_batch(trainer.evaluated(), part, figures)
        losses.append(figures.losses()["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5) and losses[2] == pytest.approx(losses[0], rel=1e-5)


class Poisoned(TinyNet):
    """Gives NaN from a given call on."""

    def __init__(self, after: int) -> None:
        super().__init__(3)
        self.after, self.calls = after, 0

    def _forward(self, images):
        self.calls += self.training
        logits = super()._forward(images)
        return logits * math.nan if self.training and self.calls > self.after else logits


def test_non_finite_loss_stops_before_the_weights_change(tmp_path):
    trainer = make_trainer(tmp_path / "run", model=Poisoned(9))
    parameters = list(trainer.model.parameters())
    kept = []
    original = trainer.stepper.step
    trainer.stepper.step = lambda: (kept.append([p.detach().clone() for p in parameters]), original())
    with pytest.raises(NonFiniteError) as caught:
        trainer.train()
    assert caught.value.exit_code == 3
    assert "at step 9" in str(caught.value)
    assert "e2s2i0, e2s2i1" in str(caught.value)
    assert all(torch.equal(a, b) for a, b in zip(kept[-1], parameters, strict=True))
    assert all(v.isfinite().all() for v in load_checkpoint(trainer.run.last)["model"].values())


def test_non_finite_gradients_are_found_when_they_are_clipped(tmp_path):
    trainer = make_trainer(tmp_path / "run", clip_grad_norm=1.0)
    trainer.model.last.weight.register_hook(lambda grad: grad * math.inf)
    with pytest.raises(NonFiniteError, match="gradient"):
        trainer.train()
    assert all(p.isfinite().all() for p in trainer.model.parameters())


def test_batch_norm_with_one_value_is_explained(tmp_path):
    class OnePixel(RandomBatches):
        def __iter__(self):
            for batch in super().__iter__():
                yield type(batch)(batch.images[:1, :1, :1], batch.target[:1, :1, :1], ("x",))

    trainer = make_trainer(tmp_path / "run", train_loader=OnePixel(2))
    with pytest.raises(ConfigError, match="larger crop_size, or freeze_bn"):
        trainer.train()


def test_all_void_batches_do_no_harm(tmp_path):
    class Void(RandomBatches):
        def __iter__(self):
            for batch in super().__iter__():
                yield type(batch)(batch.images, torch.full_like(batch.target, 255), batch.image_ids)

    trainer = make_trainer(tmp_path / "run", train_loader=Void(2), val_loader=Void(1), epochs=1)
    before = [p.detach().clone() for p in trainer.model.parameters()]
    trainer.train()
    for old, new in zip(before, trainer.model.parameters(), strict=True):
        assert torch.equal(old, new)
    assert lines(trainer)[0]["val"]["Mean_IoU"] is None


@pytest.mark.slow
def test_event_files_hold_one_step_axis(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = make_trainer(tmp_path / "run", tensorboard=True)
    trainer.train()
    events = EventAccumulator(str(trainer.run.path))
    events.Reload()
    steps = {tag: [e.step for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert steps["train/loss"] == steps["val/Mean_IoU"] == [7, 14, 21]
    assert steps["lr/group_0"] == list(range(2, 21, 2))
    assert "val_Class_IoU/b" in steps
    assert events.Tags()["images"] == ["val/image_target_prediction"]
    assert "config/text_summary" in events.Tags()["tensors"]


@pytest.mark.slow
def test_resumed_event_files_hold_no_step_twice(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    stopped = make_trainer(tmp_path / "run", cls=StopsAt, tensorboard=True, save_minutes=0)
    stopped.stop_step = 9
    with pytest.raises(Interrupted):
        stopped.train()
    resumed = make_trainer(stopped.run.path, tensorboard=True)
    resumed.load_state_dict(load_checkpoint(resumed.run.last))
    resumed.train()
    events = EventAccumulator(str(resumed.run.path))
    events.Reload()
    steps = [e.step for e in events.Scalars("lr/group_0")]
    assert steps == sorted(set(steps))
    assert steps[-1] == 20
