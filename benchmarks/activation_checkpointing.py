"""Peak memory and time of training steps, with and without ``trainer.activation_checkpointing``.

    python benchmarks/activation_checkpointing.py [--models PSPNet UNet] [--batch 4] [--side 384]

Each case is a process of its own: three forward and backward passes on random images, in bf16 where the CPU has
it. Printed are the peak memory less the memory before the first step (weights and program), and the median CPU
time of a step, on which other programs have less influence than on elapsed time.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

MODELS = {
    "UNet": {},
    "PSPNet": {"pretrained": False},
    "PSPDenseNet": {"pretrained": False},
    "DeepLab": {"pretrained": False},
    "UperNet": {"pretrained": False},
    "FCN8s": {"pretrained": False},
    "SMP": {"architecture": "Unet", "encoder_name": "resnet50"},
}
CLASSES = 21


def measure(name: str, wanted: bool, batch: int, side: int) -> None:
    """Train three steps; print the gigabytes they added and the CPU seconds of a step."""
    import torch

    import models
    from utils.losses import CrossEntropyLoss2d
    from utils.system.precision import Precision, has_bf16
    from utils.training.activation_checkpointing import checkpoint_activations

    torch.manual_seed(0)
    model = getattr(models, name)(CLASSES, **MODELS[name]).to(memory_format=torch.channels_last).train()
    if wanted:
        checkpoint_activations(model)
    cpu = torch.device("cpu")
    precision = Precision("bf16" if has_bf16(cpu) else "fp32", "cpu")
    criterion = CrossEntropyLoss2d()
    images = torch.randn(batch, 3, side, side).contiguous(memory_format=torch.channels_last)
    target = torch.randint(0, CLASSES, (batch, side, side))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    for _ in range(3):
        start = time.process_time()
        with precision.autocast():
            output = model(images)
        total = sum(criterion(logits, target) for logits in (output.logits, *output.aux))
        total.backward()
        times.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print((peak - before) / 2**20, statistics.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        measure(args.case[0], args.case[1] == "with", args.batch, args.side)
        return
    print("| model | memory of a step | with checkpointing | CPU time of a step | with checkpointing |")
    print("|---|---:|---:|---:|---:|")
    for name in args.models:
        figures = []
        for case in ("without", "with"):
            command = [sys.executable, __file__, "--case", name, case]
            command += ["--batch", str(args.batch), "--side", str(args.side)]
            words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            figures.append(tuple(map(float, words[-2:])))
        (memory, seconds), (less, longer) = figures
        print(
            f"| {name} | {memory:.2f} GB | {less:.2f} GB ({less / memory:.0%}) | {seconds:.2f} s | "
            f"{longer:.2f} s ({longer / seconds:.2f}x) |",
            flush=True,
        )


if __name__ == "__main__":
    main()
