"""Computing blocks again changes nothing but the memory."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

from base import BaseModel
from tests.models.catalogue import each_model, smallest
from tests.parts import RandomBatches, TinyNet, make_trainer
from tests.peak_memory import LiveTensors
from utils.errors import ConfigError
from utils.training.activation_checkpointing import checkpoint_activations


def step(model: BaseModel, images: torch.Tensor, precision: torch.dtype = torch.float32) -> int:
    """Forward and backward in training mode, with dropout; returns the peak of memory in bytes."""
    model.train()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    known = [*model.parameters(), *model.buffers(), *(p.grad for p in model.parameters()), images]
    torch.manual_seed(1)
    with LiveTensors(known) as live:
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            output = model(images)
        total = sum(logits.float().square().mean() for logits in (output.logits, *output.aux))
        total.backward()
    return live.peak


def assert_equal(one: BaseModel, other: BaseModel) -> None:
    gradients = {name: p.grad for name, p in other.named_parameters()}
    for name, parameter in one.named_parameters():
        assert torch.equal(parameter.grad, gradients[name]), name
    buffers = dict(other.named_buffers())
    for name, buffer in one.named_buffers():
        assert torch.equal(buffer, buffers[name]), name
    assert list(one.state_dict()) == list(other.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("name", each_model(less={"FCN16s", "FCN32s"}))  # their blocks are those of FCN8s
def test_same_gradients_and_statistics_in_less_memory(name):
    torch.manual_seed(0)
    plain = smallest(name)
    thrifty = copy.deepcopy(plain)
    assert checkpoint_activations(thrifty) >= 2
    images = torch.randn(2, 3, 48, 64)
    peaks = step(plain, images), step(thrifty, images)
    assert_equal(plain, thrifty)
    moved = [b for n, b in thrifty.named_buffers() if n.endswith("num_batches_tracked")]
    assert all(count == 1 for count in moved)
    assert peaks[1] < 0.92 * peaks[0]  # of small images, whose gradients take as much as their features


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"freeze_bn": True}, {"freeze_backbone": True}])
def test_frozen_parts_stay_frozen(options):
    torch.manual_seed(0)
    plain = smallest("PSPNet", **options)
    thrifty = copy.deepcopy(plain)
    checkpoint_activations(thrifty)
    images = torch.randn(2, 3, 32, 48)
    step(plain, images), step(thrifty, images)
    assert_equal(plain, thrifty)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["UNet", "PSPDenseNet"])
def test_half_precision_is_that_of_the_first_time(name):
    torch.manual_seed(0)
    plain = smallest(name).to(memory_format=torch.channels_last)
    thrifty = copy.deepcopy(plain)
    checkpoint_activations(thrifty)
    images = torch.randn(2, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    step(plain, images, torch.bfloat16), step(thrifty, images, torch.bfloat16)
    assert_equal(plain, thrifty)


def test_a_copy_computes_with_its_own_weights():
    """The average of the weights is a copy of the model; so are the replicas of DataParallel."""
    model = smallest("UNet")
    checkpoint_activations(model)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    images = torch.randn(1, 3, 16, 16, requires_grad=True)
    assert not twin.eval()(images).logits.any()
    assert model.eval()(images).logits.any()
    replica = model.inc._replicate_for_data_parallel()
    assert type(replica) is type(model.inc) and "forward" not in vars(replica)


def test_evaluation_is_untouched():
    model = smallest("UNet").eval()
    images = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        before = model(images).logits
        checkpoint_activations(model)
        assert torch.equal(model(images).logits, before)
    assert isinstance(model.inc, nn.Sequential) and type(model.inc).__name__ == "Sequential"


@pytest.mark.slow
def test_a_complete_run_is_the_same_run(tmp_path):
    states = []
    for wanted in (False, True):
        torch.manual_seed(0)
        trainer = make_trainer(
            tmp_path / str(wanted), model=smallest("UNet", 3), train_loader=RandomBatches(4), epochs=2,
            accumulate_steps=2, ema_decay=0.9, activation_checkpointing=wanted,
        )  # fmt: skip
        trainer.train()
        states.append((trainer.model.state_dict(), trainer.stepper.ema.module.state_dict()))
    for a, b in itertools.chain(
        *(zip(x.items(), y.items(), strict=True) for x, y in zip(*states, strict=True))
    ):
        assert a[0] == b[0] and torch.equal(a[1], b[1]), a[0]


def test_a_model_without_blocks_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="activation_checkpointing: TinyNet is not made of blocks"):
        make_trainer(tmp_path / "run", model=TinyNet(3), activation_checkpointing=True)


def test_a_model_of_one_block_is_divided_further():
    inner = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1)), nn.Sequential(nn.Conv2d(4, 2, 1)))
    assert checkpoint_activations(nn.Sequential(inner)) == 2
