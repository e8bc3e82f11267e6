"""Time of the losses, forward and backward, against segmentation-models-pytorch.

    python benchmarks/losses.py [--rounds 3] [--shape 8 21 380 380] [--only LovaszSoftmax]

The two losses of a pair take turns in one process, on the logits and target of one seed; ratios are of their
medians. For Lovász-softmax, the distance of the gradient from a float64 evaluation of the definition is printed
too.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utils import losses
from utils.system.allocator import keep_freed_memory

IGNORE = 255
GOALS = {"LovaszSoftmax": 15.0, "CE_DiceLoss": 3.0, "DiceLoss": 1.9, "FocalLoss": 10.0}


def pairs() -> dict[str, tuple[Callable, Callable]]:
    """Map the name of a loss to (ours, theirs)."""
    import segmentation_models_pytorch.losses as smp

    entropy, dice = (
        smp.SoftCrossEntropyLoss(smooth_factor=0.0, ignore_index=IGNORE),
        smp.DiceLoss("multiclass", ignore_index=IGNORE),
    )
    return {
        "LovaszSoftmax": (losses.LovaszSoftmax(), smp.LovaszLoss("multiclass", ignore_index=IGNORE)),
        "CE_DiceLoss": (losses.CE_DiceLoss(), lambda x, t: entropy(x, t) + dice(x, t)),
        "DiceLoss": (losses.DiceLoss(), dice),
        "FocalLoss": (losses.FocalLoss(), smp.FocalLoss("multiclass", ignore_index=IGNORE)),
        "TverskyLoss": (losses.TverskyLoss(), smp.TverskyLoss("multiclass", ignore_index=IGNORE)),
        "CrossEntropyLoss2d": (losses.CrossEntropyLoss2d(), torch.nn.CrossEntropyLoss(ignore_index=IGNORE)),
    }


def sample(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Draw logits of a fair prediction and its target, in squares of 20 pixels; the first rows are void."""
    generator = torch.Generator().manual_seed(0)
    n, c, h, w = shape
    target = torch.randint(0, c, (n, h // 20 + 1, w // 20 + 1), generator=generator)
    target = target.repeat_interleave(20, 1).repeat_interleave(20, 2)[:, :h, :w].contiguous()
    logits = torch.randn(shape, generator=generator).mul_(2)
    logits.scatter_add_(1, target[:, None], torch.full((n, 1, h, w), 2.0))
    target[:, : h // 20] = IGNORE
    return logits, target


def seconds(loss: Callable, logits: Tensor, target: Tensor) -> float:
    """Measure one forward and backward pass."""
    logits = logits.detach().requires_grad_(True)
    start = time.perf_counter()
    loss(logits, target).backward()
    return time.perf_counter() - start


def gradient(loss: Callable, logits: Tensor, target: Tensor) -> Tensor:
    """Compute d loss / d logits, as float64."""
    logits = logits.detach().clone().requires_grad_(True)
    loss(logits, target).backward()
    assert logits.grad is not None
    return logits.grad.double()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shape", type=int, nargs=4, default=[8, 21, 380, 380], metavar=("N", "C", "H", "W"))
    parser.add_argument("--only", action="append")
    args = parser.parse_args()
    keep_freed_memory()
    logits, target = sample(tuple(args.shape))
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {tuple(args.shape)}, forward and backward"
    )
    for name, (ours, theirs) in pairs().items():
        if args.only and name not in args.only:
            continue
        compare(name, ours, theirs, logits, target, args.rounds)
    if not args.only or "LovaszSoftmax" in args.only:
        compare_gradients(logits, target)


def compare(name: str, ours: Callable, theirs: Callable, logits: Tensor, target: Tensor, rounds: int) -> None:
    """Print the median times of two losses that take turns."""
    times: list[list[float]] = [[], []]
    seconds(ours, logits, target)
    for _ in range(rounds):
        for slot, loss in zip(times, (ours, theirs), strict=True):
            slot.append(seconds(loss, logits, target))
    mine, peer = (statistics.median(slot) for slot in times)
    goal = f" (goal {GOALS[name]:g}x)" if name in GOALS else ""
    print(
        f"{name:20} {mine:6.3f} s ({min(times[0]):.3f}-{max(times[0]):.3f}), "
        f"peer {peer:6.3f} s, {peer / mine:5.2f}x{goal}"
    )


def compare_gradients(logits: Tensor, target: Tensor) -> None:
    """Print the distance of both variants of Lovász-softmax from a float64 evaluation of the definition."""
    exact = gradient(losses.LovaszSoftmax(exact=True), logits.double(), target)
    variants = {"histogram": losses.LovaszSoftmax(), "float32 sort": losses.LovaszSoftmax(exact=True)}
    for title, loss in variants.items():
        distance = (gradient(loss, logits, target) - exact).norm() / exact.norm()
        print(f"Lovász gradient, {title}: {distance:.1e} from the float64 definition")


if __name__ == "__main__":
    main()
