"""Arithmetic of a run: bf16 where the hardware has it, fp16 with loss scaling, or fp32."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from utils.errors import ConfigError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Precision:
    """Arithmetic of forward passes on one kind of device.

    Attributes:
        name: ``fp32``, ``bf16`` or ``fp16``.
        device_type: ``cpu`` or ``cuda``.
    """

    name: str
    device_type: str

    @property
    def dtype(self) -> torch.dtype:
        """Type of the activations."""
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.name]

    def autocast(self) -> AbstractContextManager[object]:
        """Context for forward passes; weights and losses stay in fp32."""
        if self.name == "fp32":
            return nullcontext()
        return torch.autocast(self.device_type, dtype=self.dtype)

    def make_scaler(self) -> torch.amp.GradScaler:
        """Make the loss scaler, which only fp16 needs; for the others it changes nothing."""
        return torch.amp.GradScaler(self.device_type, enabled=self.name == "fp16")


def resolve_precision(name: str, device: torch.device) -> Precision:
    """Turn the name in a config into a :class:`Precision`.

    Args:
        name: ``auto``, ``fp32``, ``bf16`` or ``fp16``. ``auto`` is bf16 where the device computes it
            in hardware, fp16 on other GPUs, fp32 on other CPUs.
        device: device of the model.

    Raises:
        ConfigError: ``fp16`` on a CPU.
    """
    if name == "auto":
        if has_bf16(device):
            name = "bf16"
        else:
            name = "fp16" if device.type == "cuda" else "fp32"
    elif name == "fp16" and device.type == "cpu":
        raise ConfigError("precision: fp16 is for GPUs; on a CPU use bf16, fp32 or auto")
    elif name == "bf16" and not has_bf16(device):
        logger.warning("precision: bf16 is emulated on this device, and slow; auto picks better")
    return Precision(name, device.type)


def has_bf16(device: torch.device) -> bool:
    """Return whether the device multiplies bf16 matrices in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # these checks of torch.cpu are private, so a release may move them
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in checks)
