"""Weights of the encoders of segmentation-models-pytorch: from a file or a package, or what it downloads."""

from __future__ import annotations

from typing import Any

from torch import nn

from models.weights.fetch import require_hub
from models.weights.for_timm import load_timm
from models.weights.known import rename
from models.weights.load import load_into
from models.weights.read import read_weights
from utils.dataset_info import Normalisation

KEY = "arch.args.encoder_weights"


def load_encoder(encoder: nn.Module, name: str, pretrained: bool | str, in_channels: int) -> Normalisation:
    """Load weights into an encoder.

    Args:
        encoder: changed in place.
        name: the package's name of it.
        pretrained: a file or ``pip:PACKAGE``; true for timm's own weights of an encoder of timm.
        in_channels: channels of the images.

    Returns:
        What the weights were trained with, for that many channels.

    Raises:
        ConfigError: the weights cannot be read or fetched, or are of another encoder.
    """
    network = getattr(encoder, "model", None)
    if isinstance(network, nn.Module):  # of timm, by the name after the prefix tu- or timm-
        return load_timm(network, str(getattr(encoder, "name", name[3:])), pretrained, in_channels, key=KEY)
    weights = read_weights(str(pretrained))
    parts = {part for part, _ in encoder.named_children()}
    named = rename(weights.state, encoder.state_dict())
    state = {key: tensor for key, tensor in named.items() if key.partition(".")[0] in parts}
    if not state:  # names of another network, which the message shall show
        state = weights.state
    load_into(encoder, weights._replace(state=state), name)
    return (weights.normalisation or Normalisation()).for_channels(in_channels)


def require_weights(settings: dict[str, Any]) -> str | None:
    """Return the cached file of an encoder's weights; where there is none, see that the hub answers.

    Args:
        settings: ``repo_id`` and ``revision``.

    Raises:
        ValueError: the file is not in the cache and the hub does not answer within seconds.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    names = ("model.safetensors", "config.json")
    cached = [try_to_load_from_cache(settings["repo_id"], n, revision=settings["revision"]) for n in names]
    if not all(isinstance(path, str) for path in cached):
        try:
            require_hub()
        except OSError as error:
            raise ValueError(
                f"model.safetensors of {settings['repo_id']} is not in {constants.HF_HUB_CACHE}, and the hub "
                f"does not answer: {error}"
            ) from error
    return cached[0] if isinstance(cached[0], str) else None


def published_normalisation(package: Any, name: str, weights: str) -> Normalisation:
    """Return what the package's weights of an encoder were trained with."""
    try:
        settings = package.encoders.get_preprocessing_params(name, pretrained=weights)
    except KeyError:  # the file beside the weights says nothing of it
        return Normalisation()
    scale = max(settings["input_range"])
    mean, std = (tuple(float(value) / scale for value in settings[key]) for key in ("mean", "std"))
    return Normalisation(mean, std)
