"""Loads ImageNet weights into a backbone: from torchvision's cache, by download if asked, or from a file."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import nn

from utils.errors import ConfigError
from utils.lazy import lazy_import

tv = lazy_import("torchvision.models")


def load_pretrained(model: nn.Module, pretrained: bool | str, name: str) -> None:
    """Load torchvision's weights.

    Args:
        model: a torchvision model.
        pretrained: true for torchvision's default weights, or a file that holds them.
        name: torchvision's name of the model.

    Raises:
        ConfigError: the file does not fit, or the weights are neither cached nor downloadable.
    """
    if isinstance(pretrained, str):
        state = _read(Path(pretrained))
    else:
        weights = tv.get_model_weights(name).DEFAULT
        try:
            state = weights.get_state_dict(progress=True, check_hash=True)
        except OSError as error:
            file = weights.url.rsplit("/", 1)[-1]
            folder = Path(torch.hub.get_dir()) / "checkpoints"
            raise ConfigError(
                f"arch.args.pretrained: {weights.url} cannot be downloaded ({error}); put {file} into {folder}, "
                "give its path as 'pretrained', or set it to false"
            ) from error
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ConfigError(f"arch.args.pretrained: the weights are not those of {name}: {str(error).splitlines()[0]}") from error


def _read(path: Path) -> dict:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConfigError(f"arch.args.pretrained: {path}: no such file") from None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ConfigError(f"arch.args.pretrained: {path}: cannot be read as weights") from error
