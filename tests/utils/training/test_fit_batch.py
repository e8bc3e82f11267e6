"""The batch that fits: chosen by a probe of known memory, and by training steps on this machine."""

from __future__ import annotations

import logging

import pytest
import torch

from tests.parts import RandomBatches, make_trainer
from utils.errors import ConfigError
from utils.system import memory
from utils.training import fit_batch
from utils.training.fit_batch import CpuProbe, choose_batch, divisors

GIB = 2**30


class FakeProbe:
    """A network of 1 GiB that takes 1/2 GiB for each image; more than ``most`` images run out of memory."""

    def __init__(self, budget: float, most: int = 1000, least: int = 1) -> None:
        self.budget, self.most, self.least = int(budget * GIB), most, least
        self.tried: list[int] = []

    def peak(self, batch: int) -> int | None:
        self.tried.append(batch)
        if batch < self.least:
            raise ConfigError("batch norm was given one value per channel")
        return None if batch > self.most else GIB + batch * GIB // 2


@pytest.mark.parametrize(
    ("probe", "batch", "tried"),
    [
        (FakeProbe(100), 16, [1, 2, 4, 8, 16]),
        (FakeProbe(5), 8, [1, 2, 4, 8]),  # 16 would need 9 GiB: not tried
        (FakeProbe(4.99), 4, [1, 2, 4]),
        (FakeProbe(1.5), 1, [1, 2]),
        (FakeProbe(100, most=5), 4, [1, 2, 4, 8]),  # as a GPU does
        (FakeProbe(2.5, least=2), 2, [1, 2, 4]),
    ],
)
def test_the_largest_divisor_that_fits(probe, batch, tried):
    chosen, peak, budget = choose_batch(divisors(16, 100), probe)
    assert (chosen, peak, budget) == (batch, GIB + batch * GIB // 2, probe.budget)
    assert probe.tried == tried


@pytest.mark.parametrize(
    ("probe", "sizes", "message"),
    [
        (FakeProbe(1), [1, 2], "training on 1 image takes 1.50 GiB and does not fit into the 1.00 GiB that"),
        (FakeProbe(100, most=0), [1], "training on 1 image does not fit into the 100.00 GiB that there are"),
        (FakeProbe(1.9, least=2), [1, 2], "training on 2 images takes 2.00 GiB and does not fit"),
        (FakeProbe(1, least=2), [1], "batch norm was given one value"),
    ],
)
def test_where_not_even_one_fits(probe, sizes, message):
    with pytest.raises(ConfigError, match=message):
        choose_batch(sizes, probe)


def test_divisors_up_to_the_images_of_the_data():
    assert divisors(12, 100) == [1, 2, 3, 4, 6, 12] and divisors(12, 5) == [1, 2, 3, 4]


class Images(RandomBatches):
    def largest_batch(self):
        return next(iter(RandomBatches(1, batch_size=1, size=self.size)))


def probe_of(folder, size: int = 16) -> CpuProbe:
    trainer = make_trainer(folder, train_loader=Images(4, size=size), ema_decay=0.9)
    return CpuProbe(trainer, EXPERIMENT)


class EXPERIMENT:
    """The parts of an experiment that a probe reads."""

    class trainer:
        effective_batch = 8

    class train_loader:
        args = {"num_workers": 1, "prefetch_factor": 2}

    val_loader = None


def test_memory_grows_with_the_batch_and_weights_stay(tmp_path):
    probe = probe_of(tmp_path / "run", size=160)
    before = [parameter.clone() for parameter in probe.trainer.model.parameters()]
    one, eight = probe.peak(1), probe.peak(8)
    # 7 images more of 8 float channels, once each for convolution, norm and ReLU
    assert eight - one > 7 * 160 * 160 * 8 * 4 * 3
    assert all(map(lambda a, b: a.equal(b), before, probe.trainer.model.parameters()))
    assert probe.budget < memory.resident() + memory.available()


def test_an_allocation_that_fails_is_a_batch_that_does_not_fit(tmp_path, monkeypatch):
    """Within convolutions, a failure would stay: oneDNN keeps it until the process ends."""
    monkeypatch.setattr(memory, "available", lambda: 100 * 2**20)
    probe = probe_of(tmp_path / "run")
    monkeypatch.setattr(probe, "take", lambda batch: torch.ones(batch * 2**26))
    assert probe.peak(4) is None
    monkeypatch.setattr(probe, "take", lambda batch: torch.ones(batch * 2**20))
    assert probe.peak(4) < memory.resident() + 2**29


def test_a_system_whose_memory_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: None)
    with pytest.raises(ConfigError, match="'auto' cannot measure the memory of this system; give a number"):
        probe_of(tmp_path / "run")


def test_an_error_that_is_not_of_memory_shows(tmp_path, monkeypatch):
    probe = probe_of(tmp_path / "run")

    def fail(batch):
        raise RuntimeError("a mistake of the model")

    monkeypatch.setattr(probe, "take", fail)
    with pytest.raises(RuntimeError, match="a mistake of the model"):
        probe.peak(1)


def test_messages_of_building_are_kept_back_and_come_again(caplog):
    with caplog.at_level(logging.INFO):
        with fit_batch._quietly():
            logging.getLogger("models").info("built")
        logging.getLogger("models").info("built again")
    assert caplog.messages == ["built again"]
