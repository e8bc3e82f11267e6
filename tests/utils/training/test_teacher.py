"""The teacher: its view of a student's batch, the pixels outside the images, and a run that learns from it."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div

from tests.parts import INFO, RandomBatches, TinyNet, make_trainer
from trainer import Trainer
from utils.config.sections import TeacherSection
from utils.data.batch import DeviceBatch
from utils.dataset_info import normalise
from utils.errors import ConfigError, Interrupted
from utils.losses.distillation import OUTSIDE
from utils.run.checkpoint import load_checkpoint
from utils.training.teacher import Teacher, TeacherSource

SOURCE = TeacherSource("teacher.pth", "ab" * 32)


def teacher_of(info=INFO, temperature: float = 2.0) -> Teacher:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = TinyNet(info.num_classes)
    return Teacher(
        network, info, INFO, TeacherSection("teacher.pth", 0.5, temperature), SOURCE, torch.device("cpu")
    )


def test_a_teacher_sees_the_images_in_its_own_normalisation_and_answers_in_the_students_order():
    pixels = torch.randint(0, 256, (2, 9, 7, 3), generator=torch.Generator().manual_seed(0)).byte()
    images = normalise(pixels, INFO).permute(0, 3, 1, 2)
    plain = teacher_of()
    other = replace(INFO, classes=("c", "a", "b"), mean=(0.1, 0.5, 0.9), std=(0.5, 0.3, 0.1))
    teacher = teacher_of(other)
    own = normalise(pixels, other).permute(0, 3, 1, 2)
    expected = teacher.network(own).logits
    torch.testing.assert_close(teacher.logits(images), expected[:, [1, 2, 0]], rtol=1e-5, atol=1e-5)
    assert torch.equal(plain.logits(images), plain.network(images).logits)
    assert not teacher.logits(images).requires_grad and not teacher.network.training


def test_padding_is_void_of_the_fill_colour():
    pixels = torch.full((1, 2, 3, 3), 9, dtype=torch.uint8)
    pixels[0, :, 2] = torch.tensor(INFO.fill_colour, dtype=torch.uint8)
    images = normalise(pixels, INFO).permute(0, 3, 1, 2)
    target = torch.tensor([[[0, 255, 255], [1, 255, 2]]])
    marked = teacher_of().target(DeviceBatch(images, target, ("a",)))
    assert marked.tolist() == [[[0, 255, OUTSIDE], [1, 255, 2]]] and target[0, 0, 2] == 255


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (replace(INFO, classes=("a", "b", "x")), "it lacks c and has x instead"),
        (replace(INFO, mean=(0.5,), std=(0.5,)), "takes 1 channels, the images of the data have 3"),
    ],
)
def test_other_classes_or_channels_are_one_line(info, message):
    with pytest.raises(ConfigError, match=f"teacher.model: teacher.pth.*{message}"):
        teacher_of(info)


def test_a_step_has_the_gradient_of_both_losses_however_it_is_accumulated(tmp_path):
    draw = torch.Generator().manual_seed(1)
    images, target = (
        torch.randn(4, 3, 16, 16, generator=draw),
        torch.randint(0, 3, (4, 16, 16), generator=draw),
    )
    target[0, :9] = 255
    gradients = []
    for size in (4, 2):
        teacher = teacher_of()
        trainer = make_trainer(tmp_path / f"run{size}", teacher=teacher, accumulate_steps=4 // size)
        trainer.model.eval()  # no statistics of a batch, no dropout
        trainer.stepper.step = lambda: None
        trainer.train_step(
            [DeviceBatch(images[i : i + size], target[i : i + size], ()) for i in range(0, 4, size)]
        )
        gradients.append([p.grad.clone() for p in trainer.model.parameters()])
        assert all(p.grad is None for p in teacher.network.parameters())
    logs = [(logits / 2).log_softmax(1) for logits in (trainer.model(images).logits, teacher.logits(images))]
    divergence = 4 * kl_div(logs[0], logs[1], log_target=True, reduction="sum") / target.numel()
    loss = cross_entropy(trainer.model(images).logits, target, ignore_index=255) + 0.5 * divergence
    by_hand = torch.autograd.grad(loss, list(trainer.model.parameters()))
    for whole, parts, expected in zip(*gradients, by_hand, strict=True):
        torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(whole, expected, rtol=1e-4, atol=1e-7)


def test_a_resumed_run_is_equal_to_the_bit_and_holds_no_teacher(tmp_path):
    class Stops(Trainer):
        def step_done(self, batches):
            if self.stepper.steps == 2:
                signal.raise_signal(signal.SIGTERM)
            super().step_done(batches)

    options = {"epochs": 2, "precision": "bf16", "val_loader": RandomBatches(1)}

    def made(folder, cls=Trainer, seed=0):
        loader = RandomBatches(3)
        return make_trainer(folder, cls=cls, seed=seed, train_loader=loader, teacher=teacher_of(), **options)

    unbroken = made(tmp_path / "unbroken")
    unbroken.train()
    stopped = made(tmp_path / "stopped", Stops)
    with pytest.raises(Interrupted):
        stopped.train()
    resumed = made(stopped.run.path, seed=9)
    resumed.load_state_dict(load_checkpoint(resumed.run.last))
    resumed.train()
    ours, theirs = (load_checkpoint(trainer.run.last) for trainer in (resumed, unbroken))
    assert all(torch.equal(ours["model"][key], theirs["model"][key]) for key in theirs["model"])
    assert ours["metrics"] == theirs["metrics"]
    assert ours["teacher"] == {"model": "teacher.pth", "sha256": "ab" * 32}
    assert ours["model"].keys() == TinyNet(3).state_dict().keys()
    assert "loss_distillation" in unbroken.run.metrics.read_text()
