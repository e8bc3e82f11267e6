"""Print the table of all architectures: ``python -m models [--speed [--rounds 3]]``, or ``--list`` them.

Parameters, stride of the logits' features, multiply-accumulates and (with ``--speed``) images per second, of
every model as a config gets it by default, for 21 classes and one 512x512 image.
"""

from __future__ import annotations

import argparse
import inspect
import statistics
import time
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import models
from base.base_model import BaseModel
from models.build import MODELS

CLASSES, SIDE = 21, 512
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "UNet": [{}, {"bilinear": True}],
    "UNetBackbone": [{"backbone": "resnet18"}, {}],
    "PSPNet": [{"backbone": "resnet18"}, {}, {"backbone": "resnet101"}],
    "DeepLab": [{"backbone": "resnet18"}, {}, {"output_stride": 8}, {"backbone": "xception"}],
    "UperNet": [{"backbone": "resnet50"}, {}],
    "DDRNet": [{}, {"variant": "23"}],
    "HF": [],  # an optional package, whose networks its own documentation lists
    "PIDNet": [{}, {"variant": "M"}, {"variant": "L"}],
    "SegFormer": [{}, {"backbone": "mit_b1"}, {"backbone": "mit_b2"}, {"backbone": "mit_b5"}],
    "ViTSeg": [{}, {"head": "upernet"}],
    "TV": [
        {"architecture": "deeplabv3_mobilenet_v3_large"},
        {"architecture": "lraspp_mobilenet_v3_large"},
        {},
    ],
    "SMP": [],  # an optional package, whose networks its own documentation lists
}


def build(name: str, arguments: dict[str, Any]) -> BaseModel:
    """Return a model without pretrained weights, in eval mode."""
    cls = getattr(models, name)
    if "pretrained" in inspect.signature(cls).parameters:
        arguments = {"pretrained": False, **arguments}
    model: BaseModel = cls(CLASSES, **arguments)
    return model.eval()


def gmacs(model: BaseModel) -> float:
    """Return the multiply-accumulates of one image in units of 10^9 (the model may be on the meta device)."""
    device = next(model.parameters()).device
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        model(torch.empty(1, 3, SIDE, SIDE, device=device))
    return counter.get_total_flops() / 2e9


def images_per_second(model: BaseModel, rounds: int) -> float:
    """Return the median speed in fp32 with channels_last over ``rounds`` images, after one for warm-up."""
    model = model.to(memory_format=torch.channels_last)
    images = torch.randn(1, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    times = []
    with torch.inference_mode():
        for _ in range(rounds + 1):
            start = time.perf_counter()
            model(images)
            times.append(time.perf_counter() - start)
    return 1 / statistics.median(times[1:])


def list_names() -> None:
    """Print every name that a config may use, with the first sentence of its docstring."""
    for name, cls in sorted(MODELS.classes().items(), key=lambda item: item[0].lower()):
        what = (inspect.getdoc(cls) or "").partition("\n")[0]
        print(f"{name:16} {what if name == cls.__name__ else f'another name of {cls.__name__}'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="names and descriptions only; nothing is built")
    parser.add_argument("--speed", action="store_true", help="also measure images per second on this CPU")
    parser.add_argument("--rounds", type=int, default=3, help="images measured per model")
    args = parser.parse_args()
    if args.list:
        list_names()
        return
    names = sorted({cls.__name__ for cls in MODELS.classes().values()}, key=str.lower)
    print(f"| model | arguments | parameters | stride | GMACs |{' images/s |' if args.speed else ''}")
    print(f"|---|---|---:|---:|---:|{'---:|' if args.speed else ''}")
    for name in names:
        for arguments in VARIANTS.get(name, [{}]):
            with torch.device("meta"):
                model = build(name, arguments)
            count = sum(p.numel() for p in model.parameters())
            shown = ", ".join(f"{key} {value}" for key, value in arguments.items()) or "default"
            row = f"| {name} | {shown} | {count:,} | {model.stride} | {gmacs(model):.1f} |"
            if args.speed:
                row += f" {images_per_second(build(name, arguments), args.rounds):.2f} |"
            print(row, flush=True)


if __name__ == "__main__":
    main()
