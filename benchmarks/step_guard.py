"""Cost of the check for gradients that are not finite: ``python benchmarks/step_guard.py --rounds 30``.

Two U-Nets with the same weights take the same training steps, one with the check and one without. The steps are
interleaved in pairs whose order alternates, so that a change in the load of the machine meets both. Prints the
median of the ratios of the pairs, with its quartiles, and the CPU.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from models.unet import UNet  # noqa: E402
from utils.losses import CrossEntropyLoss2d  # noqa: E402
from utils.system.precision import Precision  # noqa: E402
from utils.training import stepper as stepping  # noqa: E402
from utils.training.finite import gradient_norm  # noqa: E402
from utils.training.schedule import build_schedule  # noqa: E402


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    args = parse_arguments(argv)
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    precision = Precision(args.precision, device.type)
    sides = {name: Steps(args, device, precision) for name in ("with", "without")}
    ratios = []
    for number in range(args.rounds + args.warm_up):
        order = ("with", "without") if number % 2 else ("without", "with")
        seconds = {name: sides[name].step(guarded=name == "with") for name in order}
        if number >= args.warm_up:
            ratios.append(seconds["with"] / seconds["without"])
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"{cpu_name()}, torch {torch.__version__}, {args.threads} threads, {args.device}, {args.precision}")
    print(
        f"UNet of {args.base_channels} channels, {args.batch} images of {args.side} pixels, {args.rounds} pairs"
    )
    print(f"step with the check / without: median {middle:.4f}, quartiles {low:.4f} to {high:.4f}")
    return 0


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    for name, default in (
        ("rounds", 30), ("warm-up", 4), ("base-channels", 64), ("batch", 4), ("side", 256), ("threads", 2),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default: {default}")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    return parser.parse_args(argv)


class Steps:
    """Training steps of one network, with or without the check."""

    def __init__(self, args: argparse.Namespace, device: torch.device, precision: Precision) -> None:
        torch.manual_seed(0)
        self.device, self.precision = device, precision
        self.model = UNet(19, base_channels=args.base_channels)
        self.model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9)
        schedule = build_schedule(None, optimizer, 1, 10**6)
        self.stepper = stepping.Stepper(self.model, optimizer, schedule, precision)
        shape = args.batch, args.side, args.side
        self.images = torch.randn(args.batch, 3, *shape[1:], device=device)
        self.images = self.images.to(memory_format=torch.channels_last)
        self.target = torch.randint(0, 19, shape, device=device)
        self.criterion: nn.Module = CrossEntropyLoss2d().to(device)

    def step(self, *, guarded: bool) -> float:
        """Take one step and return its seconds; without the check, the norm of the gradients is a constant."""
        stepping.gradient_norm = gradient_norm if guarded else _constant  # type: ignore[assignment]
        self._wait()
        start = time.perf_counter()
        with self.precision.autocast():
            logits = self.model(self.images).logits
        self.stepper.backward(self.criterion(logits, self.target))
        self.stepper.step()
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _constant(gradients: object) -> Tensor:
    return torch.zeros(())


def cpu_name() -> str:
    """Return the model of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "CPU")


if __name__ == "__main__":
    sys.exit(main())
