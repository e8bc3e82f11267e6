"""The process of a run: devices, threads, allocator, determinism, seeds. Called by entry scripts only."""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from utils import __version__
from utils.config.sections import Experiment
from utils.run.log import require_tensorboard
from utils.system.allocator import keep_freed_memory
from utils.system.device import resolve_devices
from utils.system.precision import Precision, resolve_precision
from utils.system.rng import seed_everything

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Process:
    """The settings of the process that trains.

    Attributes:
        devices: the devices to compute on; the first holds the model.
        precision: arithmetic of forward passes.
        layout: memory layout of images and weights.
    """

    devices: list[torch.device]
    precision: Precision
    layout: torch.memory_format

    @property
    def device(self) -> torch.device:
        """The device that holds the model."""
        return self.devices[0]


def prepare_process(experiment: Experiment, device: str | None = None) -> Process:
    """Apply the process-wide settings of a config and log them.

    Args:
        experiment: the config.
        device: as the command line's ``--device``; ``None`` follows ``n_gpu``.

    Raises:
        ConfigError: there is no such device, it has not the precision asked for, or tensorboard is missing.
    """
    require_tensorboard(experiment.trainer)
    devices = resolve_devices(device, experiment.n_gpu)
    precision = resolve_precision(experiment.precision, devices[0])
    if experiment.num_threads is not None:
        torch.set_num_threads(experiment.num_threads)
    _set_determinism(experiment.deterministic)
    on_cpu = devices[0].type == "cpu"
    kept = experiment.tune_allocator and on_cpu and keep_freed_memory()
    seed_everything(experiment.seed)
    logger.info(
        "torch %s, Python %s on %s: %s, %s%s, %d threads, seed %d%s%s",
        torch.__version__,
        platform.python_version(),
        sys.platform,
        ", ".join(_name(device) for device in devices),
        precision.name,
        ", channels_last" if experiment.channels_last else "",
        torch.get_num_threads(),
        experiment.seed,
        ", deterministic" if experiment.deterministic else "",
        ", freed memory is kept (tune_allocator)" if kept else "",
    )
    layout = torch.channels_last if experiment.channels_last else torch.contiguous_format
    return Process(devices, precision, layout)


@contextmanager
def any_image_size() -> Iterator[None]:
    """Switch off cuDNN's search for the fastest kernels, which would be repeated for every image size."""
    searching = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = searching


def versions() -> dict[str, str]:
    """Return the versions of this program, Python and torch, for a checkpoint."""
    return {
        "segwright": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }


def _set_determinism(deterministic: bool) -> None:
    if deterministic:
        # cuBLAS reads this when its first handle is made, which has not happened yet
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.deterministic = True
    else:
        torch.backends.cudnn.benchmark = True  # crops have one size; it picks the fastest kernels


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
