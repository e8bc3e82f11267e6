"""Time of training steps: the epoch loop against a bare loop, and the defaults against plain fp32 NCHW.

    python benchmarks/train_step.py [--rounds 5] [--steps 4]

The epoch loop and the bare loop take turns, some steps each, in one process and with one model, because two equal
processes differ by several percent. The defaults and plain fp32 NCHW take turns in processes of their own, because
the allocator setting belongs to the process. The peak memory of each process is printed too.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

if TYPE_CHECKING:  # torch is for the measured processes only
    import torch

    from base import BaseModel
    from utils.data.batch import Batch
    from utils.dataset_info import DatasetInfo
    from utils.system.precision import Precision

CASES = {"UNet": (4, 256, {}), "FCN8s": (2, 256, {"pretrained": False})}  # batch, side, arguments
NUM_CLASSES = 21
TURNS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="timed steps per round")
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=CASES)
    args = parser.parse_args()
    if args.case:
        measure(*args.case, args.steps)
        return
    for model in CASES if args.only is None else [args.only]:
        runs: dict[str, list[tuple[float, ...]]] = {"ours": [], "plain": []}
        for round_ in range(args.rounds):
            for way in sorted(runs, reverse=bool(round_ % 2)):
                runs[way].append(run_case(model, way, args.steps))
        report(model, runs["ours"], runs["plain"])


def run_case(model: str, way: str, steps: int) -> tuple[float, ...]:
    """Run one process: median seconds per step of the epoch loop (``ours`` only) and the bare loop, peak GB."""
    command = [sys.executable, __file__, "--case", model, way, "--steps", str(steps)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return tuple(map(float, output[-3 if way == "ours" else -2 :]))


def report(model: str, ours: list[tuple[float, ...]], plain: list[tuple[float, ...]]) -> None:
    """Print the medians and ranges of all rounds."""
    batch, side, _ = CASES[model]
    print(f"{model}, batch {batch}, {side}x{side}, {NUM_CLASSES} classes")
    lines = (
        ("our epoch loop", ours, 0),
        ("bare loop, same settings", ours, 1),
        ("bare loop, fp32 NCHW", plain, 0),
    )
    for name, runs, column in lines:
        seconds = [run[column] for run in runs]
        middle, low, high = statistics.median(seconds), min(seconds), max(seconds)
        print(
            f"  {name:26} {middle:.3f} s/step ({low:.3f}-{high:.3f}), peak {max(run[-1] for run in runs):.2f} GB"
        )
    overhead = statistics.median(run[0] / run[1] for run in ours) - 1
    speedup = statistics.median(slow[0] / fast[0] for slow, fast in zip(plain, ours, strict=True))
    print(f"  overhead of the epoch loop {overhead:+.1%}; defaults against fp32 NCHW {speedup:.2f}x")


def measure(name: str, way: str, steps: int) -> None:
    """Measure a case in this process, and print what :func:`run_case` reads."""
    import numpy as np
    import torch

    import models
    from utils.data.batch import Batch
    from utils.system.allocator import keep_freed_memory
    from utils.system.precision import Precision, resolve_precision

    batch, side, arguments = CASES[name]
    device = torch.device("cpu")
    plain = way == "plain"
    if not plain:
        keep_freed_memory()
    torch.manual_seed(0)
    layout = torch.contiguous_format if plain else torch.channels_last
    model = getattr(models, name)(NUM_CLASSES, **arguments).to(memory_format=layout).train()
    precision = Precision("fp32", "cpu") if plain else resolve_precision("auto", device)
    draw = np.random.default_rng(0)
    images = torch.from_numpy(draw.integers(0, 256, (batch, side, side, 3), dtype=np.uint8))
    target = torch.from_numpy(draw.integers(0, NUM_CLASSES, (batch, side, side), dtype=np.uint8))
    host = Batch(images, target, tuple(map(str, range(batch))))
    loops = (bare_loop,) if plain else (epoch_loop, bare_loop)
    times: list[list[float]] = [[] for _ in loops]
    for _ in range(1 if plain else TURNS):
        for loop, found in zip(loops, times, strict=True):
            found += loop(model, host, precision, layout, steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(*map(statistics.median, times), peak)


def bare_loop(
    model: BaseModel, host: Batch, precision: Precision, layout: torch.memory_format, steps: int
) -> list[float]:
    """Train with the shortest loop possible: same model, batch, loss and precision; seconds of each step."""
    import torch
    import torch.nn.functional as F

    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    images = host.images.permute(0, 3, 1, 2).float().div(255).contiguous(memory_format=layout)
    target = host.target.long()
    times = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        with precision.autocast():
            logits = model(images).logits
        F.cross_entropy(logits.float(), target, ignore_index=255).backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - start)
    return times[1:]


class OneBatch:
    """Loader that yields the same batch, and notes the time of each request."""

    def __init__(self, host: Batch, length: int, info: DatasetInfo) -> None:
        self.host, self.length, self.info = host, length, info
        self.asked: list[float] = []

    @property
    def position(self) -> tuple[int, int]:
        return 1, 0

    def set_epoch(self, epoch: int, start_step: int = 0) -> None:
        pass

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(self.length):
            self.asked.append(time.perf_counter())
            yield self.host


def epoch_loop(
    model: BaseModel, host: Batch, precision: Precision, layout: torch.memory_format, steps: int
) -> list[float]:
    """Train as ``Trainer`` does, with upload, metrics, finite check, schedule and bar; seconds of each step."""
    import torch

    from trainer import Trainer
    from utils.config.sections import OptimizerSection, SchedulerSection, TrainerSection
    from utils.dataset_info import DatasetInfo
    from utils.losses import CrossEntropyLoss2d
    from utils.run.folder import RunFolder
    from utils.training.optimizer import build_optimizer
    from utils.training.schedule import build_schedule

    names = tuple(map(str, range(NUM_CLASSES)))
    loader = OneBatch(host, steps + 2, DatasetInfo(names, ((0, 0, 0),) * NUM_CLASSES))
    optimizer = build_optimizer(OptimizerSection("SGD", {"lr": 1e-4, "momentum": 0.9}), model)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            criterion=CrossEntropyLoss2d(),
            optimizer=optimizer,
            schedule=build_schedule(SchedulerSection("Poly"), optimizer, 2, len(loader)),
            train_loader=loader,
            val_loader=None,
            options=TrainerSection(epochs=2, val=False, tensorboard=False, log_per_iter=2),
            run=RunFolder.create(folder, "benchmark"),
            devices=[torch.device("cpu")],
            precision=precision,
        )
        trainer._train_epoch(1)
    return [after - before for before, after in pairwise(loader.asked)][1:]


if __name__ == "__main__":
    main()
