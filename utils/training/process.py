"""Sets up the process of a run: threads, allocator, determinism, seeds. Called by entry scripts only."""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from utils.config.sections import Experiment
from utils.system.allocator import keep_freed_memory
from utils.system.precision import Precision
from utils.system.rng import seed_everything

logger = logging.getLogger(__name__)


def prepare_machine(experiment: Experiment, devices: list[torch.device], precision: Precision) -> None:
    """Apply the config's process-wide settings and say in the log what they are.

    Args:
        experiment: the config.
        devices: where the model will run.
        precision: the arithmetic chosen.
    """
    if experiment.num_threads is not None:
        torch.set_num_threads(experiment.num_threads)
    if experiment.deterministic:
        # cuBLAS reads this when its first handle is made, which has not happened yet
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.deterministic = True
    else:
        torch.backends.cudnn.benchmark = True  # crops have one size; it picks the fastest kernels
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


@contextmanager
def any_image_size() -> Iterator[None]:
    """Without cuDNN's search for the fastest kernels, which would start anew at every image size."""
    searching = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = searching


def versions() -> dict[str, str]:
    """Versions of what computes, for a checkpoint."""
    return {"python": platform.python_version(), "torch": str(torch.__version__)}


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
