"""Time inference modes on a large image against MONAI's windows and a multi-scale by zoom in float64.

    python benchmarks/inference.py [--size 2048 1024] [--classes 21 150] [--networks cheap UNet] [--rounds 3]

Every case runs in a process of its own; the ways take turns. Printed: seconds (median, lowest, highest),
seconds spent outside the network, seconds of CPU time (which other programs on the machine change less),
and the growth of the process's peak memory. ``bare`` and ``bare-multiscale`` run the network alone over the
same inputs and discard its results: the lower limit. ``-auto`` is the precision that inference.py chooses by
default; all other ways use fp32. ``cheap`` is a network of one layer at an eighth of the resolution, so that
the cost around the network shows; all ways of a network call the same one. MONAI and scipy are needed only
for the two comparisons.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

WINDOW, BATCH = 512, 4
SCALES = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
OURS = ("whole", "sliding", "multiscale", "sliding-auto", "multiscale-auto")
THEIRS = ("monai", "zoom")  # run as published: no channels_last, default allocator
WAYS = ("whole", "bare", "sliding", "monai", "bare-multiscale", "multiscale", "zoom")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, nargs="+", default=[21, 150])
    parser.add_argument(
        "--networks", nargs="+", default=["cheap"], choices=("cheap", "UNet", "PSPNet", "ENet")
    )
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=sorted({*OURS, *WAYS}))
    parser.add_argument("--size", type=int, nargs=2, default=(2048, 1024), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        measure(args.case[0], int(args.case[1]), args.case[2], *args.size)
        return
    print(f"{args.size[0]}x{args.size[1]} pixels, windows of {WINDOW}, {args.rounds} rounds")
    for network in args.networks:
        for classes in args.classes:
            runs: dict[str, list[tuple[float, ...]]] = {way: [] for way in args.ways}
            for _ in range(args.rounds):
                for way in args.ways:
                    runs[way].append(run_case(network, classes, way, args.size))
            for way, figures in runs.items():
                report(network, classes, way, figures)


def report(network: str, classes: int, way: str, runs: list[tuple[float, ...]]) -> None:
    """Print one line of figures of all rounds."""
    seconds = [run[0] for run in runs]
    print(
        f"{network:7} {classes:4} classes  {way:15} {statistics.median(seconds):7.2f} s "
        f"({min(seconds):.2f}-{max(seconds):.2f}), outside the network "
        f"{statistics.median(run[1] for run in runs):6.2f} s, "
        f"CPU {statistics.median(run[2] for run in runs):6.2f} s, "
        f"+{max(run[3] for run in runs):.2f} GB to {max(run[4] for run in runs):.2f} GB",
        flush=True,
    )


def run_case(network: str, classes: int, way: str, size: Sequence[int]) -> tuple[float, ...]:
    """Run one process; return seconds, those outside the network, CPU seconds, GB added to its peak, its peak."""
    command = [sys.executable, __file__, "--case", network, str(classes), way]
    command += ["--size", *map(str, size)]
    figures = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return tuple(map(float, figures[-5:]))


def measure(network: str, classes: int, way: str, width: int, height: int) -> None:
    """Predict a small and a large image; print the figures of the large one."""
    import numpy as np
    import torch

    from utils.system.allocator import keep_freed_memory

    if way not in THEIRS:
        keep_freed_memory()
    torch.manual_seed(0)
    net = make_network(network, classes).eval()
    if way not in THEIRS:
        net = net.to(memory_format=torch.channels_last)
    timed = Timed()
    net.forward = timed.calling(net.forward)
    if way in OURS:  # the others call forward, which calls forward_coarse
        net.forward_coarse = timed.calling(net.forward_coarse)
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    predict = make_way(way, net, classes)
    small = np.ascontiguousarray(image[:128, :256])
    predict(small)  # imports and caches are loaded at the first call
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    timed.seconds = 0.0
    start, started = time.perf_counter(), time.process_time()
    predict(image)
    seconds, busy = time.perf_counter() - start, time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(seconds, seconds - timed.seconds, busy, (peak - before) / 2**20, peak / 2**20)


class Timed:
    """Adds up the seconds that calls take."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def calling(self, function):
        """Return the function with its time added to :attr:`seconds`."""

        def timed(*arguments):
            start = time.perf_counter()
            result = function(*arguments)
            self.seconds += time.perf_counter() - start
            return result

        return timed


def make_network(name: str, classes: int):
    """Build an untrained network by name."""
    import torch.nn.functional as F
    from torch import nn

    import models
    from base import BaseModel

    class Cheap(BaseModel):
        stride = 8

        def __init__(self) -> None:
            super().__init__(classes)
            self.head = nn.Conv2d(3, classes, 1)

        def _forward(self, images):
            return self.head(F.avg_pool2d(images, 8))

    if name == "cheap":
        return Cheap()
    if name == "UNet":
        return models.UNet(classes, base_channels=32)
    if name == "ENet":
        return models.ENet(classes)
    return models.PSPNet(classes, backbone="resnet50", pretrained=False)


def make_way(way: str, net, classes: int):
    """Return a function from an image to its mask."""
    if way in ("monai", "zoom", "bare", "bare-multiscale"):
        return {
            "monai": monai_way, "zoom": zoom_way, "bare": bare_way, "bare-multiscale": bare_multiscale_way
        }[way](net, classes)  # fmt: skip
    import torch

    from utils.dataset_info import DatasetInfo, voc_palette
    from utils.predict.options import PredictOptions
    from utils.predict.predictor import Predictor
    from utils.system.precision import Precision, resolve_precision

    mode, _, precision = way.partition("-")
    info = DatasetInfo(tuple(map(str, range(classes))), tuple(voc_palette(classes)))
    tta = ("identity", "hflip") if mode == "multiscale" else ("identity",)
    options = PredictOptions(
        mode=mode, scales=SCALES, tta=tta, window=(WINDOW, WINDOW), window_batch=BATCH, overlap=1 / 3
    )
    device = torch.device("cpu")
    chosen = resolve_precision("auto", device) if precision == "auto" else Precision("fp32", "cpu")
    return Predictor(net, info, device, chosen, options).predict


def normalised(image):
    """Turn (H, W, 3) uint8 into (1, 3, H, W) float32 of zero mean and unit variance."""
    import torch

    from utils.dataset_info import IMAGENET_MEAN, IMAGENET_STD

    mean, std = (torch.tensor(v).mul(255).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (torch.from_numpy(image).permute(2, 0, 1)[None].float() - mean) / std


def bare_way(net, classes: int):
    """Run only the network, over the windows of ``sliding``."""
    import torch

    from utils.predict.windows import plan_axis

    @torch.inference_mode()
    def predict(image):
        images = normalised(image)
        stride = round(WINDOW * 2 / 3)
        rows, columns = (plan_axis(length, 1.0, WINDOW, stride) for length in image.shape[:2])
        for row in rows:
            for at in range(0, len(columns), BATCH):
                part = [
                    images[0, :, row.start : row.start + row.size, c.start : c.start + c.size]
                    for c in columns[at : at + BATCH]
                ]
                net(torch.stack(part).contiguous(memory_format=torch.channels_last))

    return predict


def bare_multiscale_way(net, classes: int):
    """Run only the network, over the scaled and mirrored images of ``multiscale``."""
    import torch

    @torch.inference_mode()
    def predict(image):
        images = normalised(image)
        for scale in SCALES:
            scaled = torch.nn.functional.interpolate(images, scale_factor=scale, mode="bilinear")
            scaled = scaled.contiguous(memory_format=torch.channels_last)
            net(scaled)
            net(scaled.flip(-1))

    return predict


def monai_way(net, classes: int):
    """MONAI's sliding_window_inference with Gaussian weights, and the softmax per window, as in ``sliding``."""
    import torch
    from monai.inferers import sliding_window_inference

    @torch.inference_mode()
    def predict(image):
        scores = sliding_window_inference(
            normalised(image), (WINDOW, WINDOW), BATCH, lambda x: net(x).logits.softmax(1), 1 / 3, "gaussian"
        )
        return scores.argmax(1)[0].to(torch.uint8)

    return predict


def zoom_way(net, classes: int):
    """Multi-scale on complete images, also mirrored, resized by scipy's zoom and added up in float64."""
    import numpy as np
    import torch
    from scipy import ndimage

    @torch.inference_mode()
    def predict(image):
        images = normalised(image).numpy()
        height, width = image.shape[:2]
        total = np.zeros((classes, height, width))
        for scale in SCALES:
            scaled = torch.from_numpy(ndimage.zoom(images, (1, 1, scale, scale), order=1, prefilter=False))
            logits = torch.nn.functional.interpolate(
                net(scaled).logits, (height, width), mode="bilinear", align_corners=True
            )
            mirrored = torch.nn.functional.interpolate(
                net(scaled.flip(-1)).logits, (height, width), mode="bilinear", align_corners=True
            )
            total += ((logits + mirrored.flip(-1)) / 2)[0].numpy()
        return (total / len(SCALES)).argmax(0).astype(np.uint8)

    return predict


if __name__ == "__main__":
    main()
