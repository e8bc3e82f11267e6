"""Proof that every model learns: 60 steps on eight real CamVid images must at least halve the loss.

    python benchmarks/learn.py DATA_DIR [--models UNet PSPNet] [--steps 60]

Each model starts from random weights (nothing is downloaded), on its smallest backbone. Images are reduced to
64x96 pixels, batches have 4 of them, and AdamW has a learning rate of 0.001 (ENet 0.005). Printed are the mean
loss of the first and of the last pass over the eight images, and the pixel accuracy of the trained model in eval
mode.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import models
from base import BaseModel
from dataloaders.camvid import CamVidDataSet
from utils.losses import CrossEntropyLoss2d
from utils.system.allocator import keep_freed_memory

SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {"backbone": "vgg11", "pretrained": False}) for name in ("FCN32s", "FCN16s", "FCN8s")},
    "UNet": ("UNet", {"base_channels": 32}),
    **{
        name: (name, {"backbone": "resnet18", "pretrained": False})
        for name in ("UNetBackbone", "PSPNet", "DeepLab", "GCN", "UperNet")
    },
    "UperNet of the family": ("UperNet", {"backbone": "resnet18", "pretrained": False, "layout": "family"}),
    "GCN resnet50": ("GCN", {"backbone": "resnet50", "pretrained": False}),
    "ENet of the family": ("ENet", {"layout": "family"}),
    "DeepLab separable": ("DeepLab", {"backbone": "resnet18", "pretrained": False, "separable": True}),
    "DeepLab xception": ("DeepLab", {"backbone": "xception", "pretrained": False}),
    "PSPDenseNet": ("PSPDenseNet", {"backbone": "densenet121", "pretrained": False}),
    "DeepLab_DUC_HDC": ("DeepLab_DUC_HDC", {"backbone": "resnet50", "pretrained": False}),
    "SegNet": ("SegNet", {"pretrained": False}),
    "SegResNet": ("SegResNet", {"pretrained": False}),
    "ENet": ("ENet", {}),
    "DABNet": ("DABNet", {}),
    "ERFNet": ("ERFNet", {}),
    "DDRNet": ("DDRNet", {}),
    "PIDNet": ("PIDNet", {}),
    "SegFormer": ("SegFormer", {}),
    "TV deeplabv3_mobilenet": ("TV", {"architecture": "deeplabv3_mobilenet_v3_large", "pretrained": False}),
    "SMP Unet": ("SMP", {"architecture": "Unet", "encoder_name": "resnet18"}),
    "SMP DeepLabV3Plus": ("SMP", {"architecture": "DeepLabV3Plus", "encoder_name": "resnet18"}),
    "SMP FPN": ("SMP", {"architecture": "FPN", "encoder_name": "resnet18"}),
}
RATES = {
    "ENet": 5e-3,
    "ENet of the family": 5e-3,
}  # narrow, with a norm after every convolution: slow at the rate of the others


def eight_images(data_dir: str) -> tuple[Tensor, Tensor]:
    """Load (8, 3, 64, 96) normalised images and their (8, 64, 96) targets, spread over the training split."""
    dataset = CamVidDataSet(data_dir=data_dir, split="train", val=True)
    images, labels = [], []
    for index in np.linspace(0, len(dataset) - 1, 8).astype(int):
        image, label = dataset[int(index)]  # normalised (3, H, W) and (H, W)
        images.append(F.interpolate(image[None], size=(64, 96), mode="area")[0])
        small = F.interpolate(label[None, None].float(), size=(64, 96), mode="nearest")
        labels.append(small[0, 0].long())
    return torch.stack(images), torch.stack(labels)


def learn(
    model: BaseModel, images: Tensor, labels: Tensor, steps: int, rate: float
) -> tuple[float, float, float]:
    """Train a model; returns its loss at the start and at the end, and its pixel accuracy at the end."""
    criterion = CrossEntropyLoss2d()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    model.train()
    trace = []
    for step in range(steps):
        part = slice(0, 4) if step % 2 == 0 else slice(4, 8)
        output = model(images[part])
        main = criterion(output.logits, labels[part])
        total = main + 0.4 * sum((criterion(aux, labels[part]) for aux in output.aux), torch.zeros(()))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        trace.append(main.item())
    model.eval()
    with torch.inference_mode():
        guess = model(images).logits.argmax(1)
    valid = labels != 255
    right = (guess == labels)[valid].float().mean().item()
    return sum(trace[:2]) / 2, sum(trace[-2:]) / 2, right


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data_dir", help="folder of CamVid")
    parser.add_argument("--models", nargs="+", choices=SMALL, default=list(SMALL))
    parser.add_argument("--steps", type=int, default=60)
    args = parser.parse_args()
    keep_freed_memory()
    images, labels = eight_images(args.data_dir)
    images = images.contiguous(memory_format=torch.channels_last)
    failed = []
    for title in args.models:
        name, arguments = SMALL[title]
        torch.manual_seed(0)
        model = getattr(models, name)(11, 3, **arguments).to(memory_format=torch.channels_last)
        start = time.perf_counter()
        first, last, right = learn(model, images, labels, args.steps, RATES.get(title, 1e-3))
        seconds = time.perf_counter() - start
        verdict = "" if last <= first / 2 else "  NOT HALVED"
        failed += [title] if verdict else []
        figures = f"{first:.3f} | {last:.3f} | {last / first:.0%} | {right:.1%} | {seconds:.0f} s"
        print(f"| {title} | {figures} |{verdict}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
