"""The largest batch that fits into the memory, for ``"batch_size": "auto"``: found by training steps on it."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import nn

from utils.config.auto_batch import BATCH, EFFECTIVE, STEPS, is_auto, with_batch
from utils.config.sections import Experiment
from utils.data.batch import Batch, DeviceBatch
from utils.data.prefetch import Prefetcher
from utils.errors import ConfigError
from utils.run.scratch import in_scratch
from utils.system import memory
from utils.system.allocator import return_freed_memory
from utils.system.cli import is_out_of_memory
from utils.training.dry_run import StepwiseTrainer
from utils.training.schedule import Schedule
from utils.training.trial import cached_bytes

logger = logging.getLogger(__name__)

_SHARE = 0.9  # of the memory that is left now; other programs and fragments take some
_STEPS = 2  # the second needs the memory of the optimizer's state
_STEPS_FP16 = 8  # the first ones may be skipped while the loss scale settles


class ProbedTrainer(StepwiseTrainer, Protocol):
    """The parts of a :class:`~trainer.Trainer` that a probe uses."""

    @property
    def forward(self) -> nn.Module: ...
    @property
    def train_data(self) -> Prefetcher: ...


class Probe(Protocol):
    """The memory of training steps."""

    budget: int

    def peak(self, batch: int) -> int | None:
        """Return the bytes that steps on ``batch`` images take; ``None`` if they ran out of memory."""


def fit_batch(experiment: Experiment, build: Callable[[Experiment], Any]) -> Experiment:
    """Return the experiment with the largest batch that fits, if it leaves the choice; else as it is.

    Nothing is left behind: no run folder, and no state but that of the random generators, which a run seeds.

    Args:
        experiment: the checked config.
        build: builds a :class:`ProbedTrainer` of an experiment.

    Raises:
        ConfigError: not even the smallest batch fits, or the memory of this system cannot be measured.
    """
    if not is_auto(experiment):
        return experiment
    effective = experiment.trainer.effective_batch
    assert effective is not None
    with in_scratch(with_batch(experiment, 1)) as trial, _quietly():
        trainer = build(trial)
        try:
            sizes = divisors(effective, at_most=len(trainer.train_loader))
            batch, peak, budget = choose_batch(sizes, _probe_of(trainer, experiment))
        finally:
            trainer.run.close()
            del trainer
            _release()
            memory.reset_peak()  # so that --check and --estimate show the memory of the run
    logger.info(
        "%s auto: %d images, %s %d (%s %d); training takes %.2f of %.2f GiB",
        BATCH, batch, STEPS, effective // batch, EFFECTIVE, effective, peak / 2**30, budget / 2**30,
    )  # fmt: skip
    return with_batch(experiment, batch)


def divisors(number: int, at_most: int) -> list[int]:
    """Return the divisors of a number up to ``at_most``, in ascending order."""
    return [size for size in range(1, min(number, at_most) + 1) if number % size == 0]


def choose_batch(sizes: Sequence[int], probe: Probe) -> tuple[int, int, int]:
    """Return the largest size that fits, with its bytes and those that there are.

    Sizes are tried in ascending order. One that would not fit, by the growth between the two before it, is not
    tried any more: on a CPU, the system would end the process.

    Args:
        sizes: in ascending order, at least one.
        probe: measures the memory.

    Raises:
        ConfigError: the smallest size that can be trained does not fit.
    """
    fits: list[tuple[int, int]] = []
    size, reason = 0, ""
    for size in sizes:
        if len(fits) > 1 and _extrapolated(fits, size) > probe.budget:
            break
        try:
            peak = probe.peak(size)
        except ConfigError:  # batch norm cannot take a single value per channel
            if fits or size == sizes[-1]:
                raise
            continue
        if peak is None or peak > probe.budget:
            needed = "" if peak is None else f"takes {peak / 2**30:.2f} GiB and "
            reason = f"{needed}does not fit into the {probe.budget / 2**30:.2f} GiB that there are"
            break
        fits.append((size, peak))
    if not fits:
        raise ConfigError(
            f"{BATCH}: 'auto' finds none: training on {size} {'image' if size == 1 else 'images'} {reason}; lower "
            "crop_size, choose a smaller model, or set trainer.activation_checkpointing"
        )
    return (*fits[-1], probe.budget)


def _extrapolated(fits: Sequence[tuple[int, int]], size: int) -> float:
    (small, low), (large, high) = fits[-2:]
    return high + (size - large) * max(0, high - low) / (large - small)


class _Steps:
    """Training steps on copies of one image, the largest of the data; the weights stay as they are."""

    def __init__(self, trainer: ProbedTrainer, experiment: Experiment) -> None:
        self.trainer, self.effective = trainer, experiment.trainer.effective_batch or 1
        self.image = trainer.train_loader.largest_batch()
        args = experiment.train_loader.args
        self.ahead = args.get("num_workers", 0) * args.get("prefetch_factor", 2)
        stepper = trainer.stepper
        stepper.schedule = Schedule(stepper.optimizer, None)  # that of the run may be shorter
        for group in stepper.optimizer.param_groups:
            group["lr"] = 0.0
        trainer.model.train()

    def take(self, batch: int) -> None:
        """Take steps while all images of a step, and those that workers prepare, are in memory."""
        ahead = [self._copies(batch) for _ in range(self.ahead)]
        rest = [self._prepared(self.effective - batch)] if self.effective > batch else []
        group = [self._prepared(batch)]
        for _ in range(_STEPS_FP16 if self.trainer.stepper.scaler.is_enabled() else _STEPS):
            self.trainer.train_step(group)
        del ahead, rest

    def _copies(self, count: int) -> Batch:
        images, target, ids = self.image
        return Batch(images[:1].repeat(count, 1, 1, 1), target[:1].repeat(count, 1, 1), ids[:1] * count)

    def _prepared(self, count: int) -> DeviceBatch:
        return self.trainer.train_data.prepare(self._copies(count))


class CpuProbe(_Steps):
    """Memory of the process, of which the machine, its control group and its limits leave some."""

    def __init__(self, trainer: ProbedTrainer, experiment: Experiment) -> None:
        super().__init__(trainer, experiment)
        _release()
        now, reserved, left = memory.resident(), memory.reserved(), memory.available()
        if now is None or reserved is None or left is None or not memory.reset_peak():
            raise ConfigError(f"{BATCH}: 'auto' cannot measure the memory of this system; give a number")
        growth = max(0, int(_SHARE * left) - cached_bytes(trainer, experiment))
        self.budget, self.most_reserved = now + growth, reserved + growth

    def peak(self, batch: int) -> int | None:
        _release()
        memory.reset_peak()
        try:
            with memory.limited_to(self.most_reserved):
                self.take(batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) and not str(error).startswith("could not create"):  # oneDNN
                raise
            return None
        return memory.peak()


class GpuProbe(_Steps):
    """Memory that torch reserves on the GPU with the least of it."""

    def __init__(self, trainer: ProbedTrainer, experiment: Experiment) -> None:
        super().__init__(trainer, experiment)
        ids = getattr(trainer.forward, "device_ids", None)  # of DataParallel
        self.devices = [torch.device("cuda", index) for index in ids] if ids else [trainer.device]
        self.budget = min(
            int(_SHARE * torch.cuda.mem_get_info(device)[0]) + torch.cuda.memory_reserved(device)
            for device in self.devices
        )

    def peak(self, batch: int) -> int | None:
        _release()
        for device in self.devices:
            torch.cuda.reset_peak_memory_stats(device)
        try:
            self.take(batch)
        except torch.OutOfMemoryError:
            return None
        return max(torch.cuda.max_memory_reserved(device) for device in self.devices)


def _probe_of(trainer: ProbedTrainer, experiment: Experiment) -> Probe:
    return (GpuProbe if trainer.device.type == "cuda" else CpuProbe)(trainer, experiment)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep back the messages of building, which the run gives again."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


def _release() -> None:
    gc.collect()
    return_freed_memory()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
