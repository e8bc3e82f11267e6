"""Weights of timm's networks: from its hub, a file, or a package."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.weights.fetch import file_of, hub_file, torch_file
from models.weights.load import load_into
from models.weights.read import KEY, Weights, read_state, read_weights
from utils.dataset_info import Normalisation
from utils.errors import ConfigError
from utils.run.names import canonical


def load_timm(
    net: nn.Module, name: str, pretrained: bool | str, in_channels: int = 3, key: str = KEY
) -> Normalisation:
    """Load weights into a network of timm, or into its feature extractor.

    Args:
        net: changed in place.
        name: timm's name of the network.
        pretrained: true for timm's own weights, a file, or ``pip:PACKAGE``.
        in_channels: channels of the images.
        key: JSON path of the option that fetches, for messages.

    Returns:
        What the weights were trained with, for that many channels.

    Raises:
        ConfigError: the weights cannot be read or fetched, or are of another network.
    """
    weights = read_weights(pretrained) if isinstance(pretrained, str) else _fetched(name, key)
    plain = _plain(name)
    expected = plain.state_dict()
    heads = tuple(f"{layer}." for layer in _classifiers(plain))
    load_into(net, _converted(weights, plain, expected), f"timm/{name}", expected=expected, optional=heads)
    return (weights.normalisation or usual_normalisation(name)).for_channels(in_channels)


def usual_normalisation(name: str) -> Normalisation:
    """Return the mean and standard deviation that timm's weights of a network were trained with."""
    import timm

    settings: Any = timm.get_pretrained_cfg(name)
    return Normalisation(tuple(settings.mean), tuple(settings.std)) if settings else Normalisation()


def _fetched(name: str, key: str) -> Weights:
    """Return timm's own weights of a network, from the cache or the hub."""
    import timm

    settings: Any = timm.get_pretrained_cfg(name)
    if settings is None or not _loads_by_name(settings):
        raise ConfigError(
            f"{key}: timm publishes no weights of {name} that load by name; give a file, or false"
        )
    if settings.hf_hub_id:
        path = hub_file(settings.hf_hub_id, settings.hf_hub_filename, key)
    else:
        digest = file_of(settings.url).rpartition("-")[2].partition(".")[0]
        path = torch_file(settings.url, digest if len(digest) == 8 else None, key)
    return Weights(read_state(path, "delete it, and the next run downloads it"), f"timm ({path.name})")


def _loads_by_name(settings: Any) -> bool:
    """Return whether timm publishes a state dict; files of JAX, which timm reads itself, are mostly converted."""
    if settings.hf_hub_id:
        return not (settings.hf_hub_filename and settings.custom_load)
    return bool(settings.url) and not settings.custom_load


def _plain(name: str) -> nn.Module:
    """Return the network without values, with its classifier."""
    import timm

    with torch.device("meta"):
        plain: nn.Module = timm.create_model(name)
    return plain


def _classifiers(plain: nn.Module) -> tuple[str, ...]:
    named = getattr(plain, "pretrained_cfg", {}).get("classifier") or ()
    return (named,) if isinstance(named, str) else tuple(named)


def _converted(weights: Weights, plain: nn.Module, expected: Mapping[str, Tensor]) -> Weights:
    """Convert tensors that have the names of the network's authors, by timm's function for it."""
    known = {canonical(name) for name in expected}
    if all(canonical(name) in known for name in weights.state):
        return weights
    convert = getattr(sys.modules[type(plain).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return weights
    try:
        converted = convert(dict(weights.state), plain)
    except (AttributeError, AssertionError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        return weights  # of another network, which the comparison says better
    return weights._replace(state={k: v for k, v in converted.items() if isinstance(v, Tensor)})
