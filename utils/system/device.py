"""Choice of the devices of a run, from the command line and the config."""

from __future__ import annotations

import logging

import torch

from utils.errors import ConfigError

logger = logging.getLogger(__name__)


def resolve_devices(name: str | None, n_gpu: int) -> list[torch.device]:
    """Choose the devices to run on: one, or several GPUs for DataParallel; the first is the main one.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1``, or GPU numbers such as ``0`` and ``0,1``; ``None``
            follows ``n_gpu``.
        n_gpu: number of GPUs in the config; 0 is the CPU. If the machine has fewer, those (or the CPU) are
            used and a line in the log says so.

    Raises:
        ConfigError: ``name`` has none of these forms, or names a GPU that the machine does not have.
    """
    if name is None:
        return _from_count(n_gpu)
    if name == "cpu":
        return [torch.device("cpu")]
    available = torch.cuda.device_count()
    if name == "cuda":
        numbers = list(range(max(1, min(n_gpu, available))))
    else:
        try:
            numbers = [int(part) for part in name.removeprefix("cuda:").split(",")]
        except ValueError:
            raise ConfigError(f"--device {name}: expected cpu, cuda, cuda:N, or N,M,...") from None
    missing = [number for number in numbers if not 0 <= number < available]
    if missing:
        raise ConfigError(f"--device {name}: no GPU {missing[0]}; this machine has {available}")
    return [torch.device("cuda", number) for number in numbers]


def resolve_device(name: str | None = None) -> torch.device:
    """Choose the single device to run on, by default the first GPU or the CPU; see :func:`resolve_devices`."""
    return resolve_devices(name or ("cuda" if torch.cuda.device_count() else "cpu"), 1)[0]


def _from_count(n_gpu: int) -> list[torch.device]:
    available = torch.cuda.device_count()
    if n_gpu > available:
        logger.info(
            "n_gpu is %d; this machine has %d: running on %s",
            n_gpu,
            available,
            f"{available} GPU(s)" if available else "the CPU",
        )
    count = min(n_gpu, available)
    return [torch.device("cuda", number) for number in range(count)] or [torch.device("cpu")]
