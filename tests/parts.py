"""Small real parts that tests of the trainer share: two-layer net, random data, no files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from base import BaseModel
from trainer import Trainer
from utils.config.sections import SchedulerSection, TrainerSection
from utils.data.batch import Batch
from utils.dataset_info import DatasetInfo
from utils.losses import CrossEntropyLoss2d, PixelLoss
from utils.run.folder import RunFolder
from utils.system.precision import Precision
from utils.training.schedule import build_schedule
from utils.training.teacher import Teacher

CPU = torch.device("cpu")
INFO = DatasetInfo(("a", "b", "c"), ((0, 0, 0), (200, 0, 0), (0, 200, 0)))


class TinyNet(BaseModel):
    """Two layers, with batch norm and dropout, so that buffers and random state matter."""

    def __init__(self, num_classes: int, in_channels: int = 3, aux: bool = False) -> None:
        super().__init__(num_classes, in_channels)
        self.first = nn.Conv2d(in_channels, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.2)
        self.last = nn.Conv2d(8, num_classes, 1)
        self.aux = nn.Conv2d(8, num_classes, 1) if aux else None

    def _forward(self, images: Tensor) -> Any:
        from base import SegmentationOutput

        features = self.drop(F.relu(self.norm(self.first(images))))
        if self.aux is not None and self.training:
            return SegmentationOutput(self.last(features), (self.aux(features),))
        return self.last(features)


class Unweighted(PixelLoss):
    """A loss of a user's own that knows no class weights."""

    def __init__(self, ignore_index: int = 255) -> None:
        super().__init__(None, ignore_index)

    def _total(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits, target, ignore_index=self.ignore_index, reduction="sum")


class RandomBatches:
    """A loader of seeded random batches whose labels follow from the red channel."""

    info = INFO

    def __init__(self, length: int, poison: int | None = None, batch_size: int = 2, size: int = 16) -> None:
        self.length, self.poison = length, poison
        self.batch_size, self.size = batch_size, size
        self.epoch, self.start_step = 1, 0
        self.opened: list[tuple[int, int]] = []

    def set_epoch(self, epoch: int, start_step: int = 0) -> None:
        self.epoch, self.start_step = epoch, start_step

    @property
    def position(self) -> tuple[int, int]:
        return self.epoch, self.start_step

    def __len__(self) -> int:
        return self.length

    def __iter__(self):
        for step in range(self.start_step, self.length):
            self.opened.append((self.epoch, step))
            draw = np.random.default_rng([self.epoch, step])
            shape = (self.batch_size, self.size, self.size, 3)
            images = draw.integers(0, 255, shape, dtype=np.uint8)
            target = (images[..., 0] // 86).astype(np.uint8)
            target[:, : int(draw.integers(1, 5))] = 255
            names = tuple(f"e{self.epoch}s{step}i{i}" for i in range(self.batch_size))
            yield Batch(torch.from_numpy(images), torch.from_numpy(target), names)


def make_trainer(
    folder: Path,
    *,
    seed: int = 0,
    train_loader: Any = None,
    val_loader: Any = None,
    model: BaseModel | None = None,
    precision: str = "fp32",
    cls: type[Trainer] = Trainer,
    scheduler: SchedulerSection | None = None,
    lr: float = 0.1,
    device: torch.device = CPU,
    teacher: Teacher | None = None,
    **options: Any,
) -> Trainer:
    """A whole trainer; ``folder`` may hold an earlier run, which is then reopened."""
    torch.manual_seed(seed)
    train_loader = RandomBatches(7) if train_loader is None else train_loader
    val_loader = RandomBatches(2) if val_loader is None else val_loader
    model = (TinyNet(3) if model is None else model).to(device)
    section = TrainerSection(**{"epochs": 3, "log_per_iter": 2, "tensorboard": False, **options})
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    steps = -(-len(train_loader) // section.accumulate_steps)
    schedule = build_schedule(scheduler or SchedulerSection("Poly"), optimizer, section.epochs, steps)
    return cls(
        model=model,
        criterion=CrossEntropyLoss2d().to(device),
        optimizer=optimizer,
        schedule=schedule,
        train_loader=train_loader,
        val_loader=val_loader or None,
        options=section,
        run=RunFolder(folder) if folder.exists() else RunFolder.create(folder.parent, folder.name),
        devices=[device],
        precision=Precision(precision, device.type),
        carried={"arch": {"type": "TinyNet"}, "config": {"name": "test"}, "crop_size": 16},
        show_progress=False,
        teacher=teacher,
    )
