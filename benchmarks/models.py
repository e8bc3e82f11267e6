"""Time of training steps and inference, against the equivalent networks of segmentation-models-pytorch.

    python benchmarks/models.py [--rounds 3] [--only UNet] [--precision fp32]

The networks of a pair take turns in one process. Because they differ in size, each time is divided by the
multiply-accumulates of its network; ratios are of the medians of seconds per GMAC, and above 1 ours is faster.
Peak memory is that of a training step in a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import models
from utils.system.allocator import keep_freed_memory

CLASSES, BATCH, SIDE = 21, 2, 256
NO = {"pretrained": False}
PAIRS = {
    "UNet": (("UNetBackbone", {**NO, "backbone": "resnet50"}), ("Unet", "resnet50")),
    "PSPNet": (("PSPNet", {**NO, "use_aux": False}), ("PSPNet", "resnet50")),
    "DeepLab": (("DeepLab", NO), ("DeepLabV3Plus", "resnet50")),
    "UperNet": (("UperNet", {**NO, "backbone": "resnet50"}), ("UPerNet", "resnet50")),
}


def build(pair: str, side: str) -> nn.Module:
    """Build our network of a pair (``side`` is ``ours``) or the other one."""
    ours, theirs = PAIRS[pair]
    if side == "ours":
        return getattr(models, ours[0])(CLASSES, **ours[1])
    import segmentation_models_pytorch as smp

    return getattr(smp, theirs[0])(encoder_name=theirs[1], encoder_weights=None, classes=CLASSES)


def gmacs(pair: str, side: str) -> float:
    """Count the multiply-accumulates of one image, in units of 10^9."""
    with torch.device("meta"):
        network = build(pair, side).eval()
        counter = FlopCounterMode(display=False)
        with torch.inference_mode(), counter:
            network(torch.empty(1, 3, SIDE, SIDE))
    return counter.get_total_flops() / 2e9


class Case:
    """A network and its optimizer, with a batch of random images."""

    def __init__(self, pair: str, side: str, precision: str) -> None:
        torch.manual_seed(0)
        self.network = build(pair, side).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1e-3, momentum=0.9)
        images = torch.randn(BATCH, 3, SIDE, SIDE)
        self.images = images.contiguous(memory_format=torch.channels_last)
        self.target = torch.randint(0, CLASSES, (BATCH, SIDE, SIDE))
        self.precision = precision

    def compute(self) -> torch.Tensor:
        """Run a forward pass; returns the logits."""
        cast = torch.autocast("cpu", torch.bfloat16) if self.precision == "bf16" else contextlib.nullcontext()
        with cast:
            output = self.network(self.images)
        return output if isinstance(output, torch.Tensor) else output.logits

    def train_step(self) -> float:
        """Measure a training step in seconds."""
        self.network.train()
        start = time.perf_counter()
        loss = nn.functional.cross_entropy(self.compute().float(), self.target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return time.perf_counter() - start

    def infer(self) -> float:
        """Measure a forward pass in eval mode in seconds."""
        self.network.eval()
        start = time.perf_counter()
        with torch.inference_mode():
            self.compute()
        return time.perf_counter() - start


def peak_gigabytes() -> float:
    """Read the peak memory of this process, without that of its parent, which ``ru_maxrss`` includes."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20


def peak_memory(pair: str, side: str, precision: str) -> float:
    """Measure the peak memory of a training step, in gigabytes, in a process of its own."""
    command = [sys.executable, __file__, "--memory", pair, side, precision]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def measure(pair: str, precision: str, rounds: int) -> None:
    """Print one line of the table for training and one for inference."""
    cases = {side: Case(pair, side, precision) for side in ("ours", "smp")}
    work = {side: gmacs(pair, side) for side in cases}
    times: dict[tuple[str, str], list[float]] = {}
    for turn in range(rounds + 1):
        for side, case in cases.items():
            for kind in ("train_step", "infer"):
                seconds = getattr(case, kind)()
                if turn:
                    times.setdefault((side, kind), []).append(seconds)
    middle = {key: statistics.median(value) for key, value in times.items()}
    memory = {side: peak_memory(pair, side, precision) for side in cases}
    for kind in ("train_step", "infer"):
        ours, smp = middle["ours", kind], middle["smp", kind]
        ratio = (smp / work["smp"]) / (ours / work["ours"])
        size = f"{work['ours']:.1f} / {work['smp']:.1f}"
        peak = f"{memory['ours']:.2f} / {memory['smp']:.2f} GB"
        print(
            f"| {pair} | {precision} | {kind} | {ours:.3f} s | {smp:.3f} s | {size} | {ratio:.2f}x | {peak} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=PAIRS, action="append")
    parser.add_argument("--precision", choices=["fp32", "bf16"], action="append")
    parser.add_argument("--memory", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    keep_freed_memory()
    if args.memory:
        Case(*args.memory).train_step()
        print(peak_gigabytes())
        return
    print("| pair | precision | what | ours | smp | GMACs per image | per GMAC | peak memory, training |")
    print("|---|---|---|---|---|---|---|---|")
    for pair in args.only or PAIRS:
        for precision in args.precision or ("fp32", "bf16"):
            measure(pair, precision, args.rounds)


if __name__ == "__main__":
    main()
