"""Loading of ImageNet weights into a backbone: from torchvision's cache, by download if asked, or from a file."""

from __future__ import annotations

import re
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn

from utils.errors import CheckpointError, ConfigError
from utils.system.lazy import lazy_import
from utils.system.tensor_file import read_tensors, sha256_of

tv = lazy_import("torchvision.models")

_HASH = re.compile(r"-([0-9a-f]{8,64})\.[^.]+$")  # torchvision's file names end in the start of their SHA-256
# DenseNet's published files are older than torchvision's names of its layers
_OLD_NAME = re.compile(
    r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.(?:weight|bias|running_mean|running_var))$"
)


def load_pretrained(model: nn.Module, pretrained: bool | str, name: str) -> None:
    """Load ImageNet weights into a torchvision model.

    Args:
        model: a torchvision model.
        pretrained: true for torchvision's default weights, or a file that holds them.
        name: torchvision's name of the model.

    Raises:
        ConfigError: the file is damaged or does not fit, or the weights are neither cached nor downloadable.
    """
    published = tv.get_model_weights(name)
    if isinstance(pretrained, str):
        path = Path(pretrained)
        names = {_file_name(weights) for weights in published}
        state = _read(path, path.name if path.name in names else None, "delete it and copy it again")
    else:
        path = _download(published.DEFAULT)
        state = _read(path, path.name, "delete it, and the next run downloads it")
    for key in [key for key in state if _OLD_NAME.match(key)]:
        state[_OLD_NAME.sub(r"\1\2", key)] = state.pop(key)
    _load(model, state, pretrained if isinstance(pretrained, str) else "torchvision", name)


def load_file(model: nn.Module, path: str) -> None:
    """Load the weights in the file ``path`` into a backbone that torchvision does not have.

    Raises:
        ConfigError: the file cannot be read or does not fit.
    """
    state = _read(Path(path), None, "delete it and copy it again")
    _load(model, state, path, type(model).__name__)


def adapt_first(model: nn.Module, in_channels: int, pretrained: bool) -> None:
    """Replace the first convolution of a model by one that takes ``in_channels`` instead of 3, in place.

    With pretrained weights an image with equal channels still gives the same features: each new channel gets
    the mean over the old ones, scaled to the same sum.

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
            mean = old.weight.mean(dim=1, keepdim=True) * (3 / in_channels)
            new.weight.copy_(mean.expand_as(new.weight))
            if old.bias is not None and new.bias is not None:
                new.bias.copy_(old.bias)
    else:
        nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, new)


def _load(model: nn.Module, state: dict[str, Tensor], source: str, name: str) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = shorten(str(error).splitlines()[-1], 200, placeholder=" ...")
        raise ConfigError(
            f"arch.args.pretrained: {source}: the weights are not those of {name}: {reason}"
        ) from error


def _file_name(weights: Any) -> str:
    return PurePosixPath(weights.url).name


def _download(weights: Any) -> Path:
    """Return torchvision's file of ``weights`` in torch's cache folder, downloaded if it is not there."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / _file_name(weights)
    if path.exists():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        expected = _HASH.search(path.name)
        torch.hub.download_url_to_file(weights.url, str(path), expected[1] if expected else None)
    except (OSError, HTTPException, RuntimeError) as error:  # the last for a wrong hash
        raise ConfigError(
            f"arch.args.pretrained: {weights.url} cannot be downloaded ({error}); put {path.name} into {folder}, "
            "give its path as 'pretrained', or set that to false"
        ) from error
    return path


def _read(path: Path, hashed_name: str | None, remedy: str) -> dict[str, Tensor]:
    """Read a file of weights.

    Args:
        path: the file.
        hashed_name: the name under which the file was published, which ends in the start of its SHA-256.
        remedy: what to do about a damaged file.
    """
    expected = _HASH.search(hashed_name or "")
    try:
        if expected and path.is_file() and not sha256_of(path).startswith(expected[1]):
            raise CheckpointError(f"{path}: is damaged: its content does not match the hash in its name")
        state = read_tensors(path)
    except CheckpointError as error:
        advice = f"; {remedy}" if path.is_file() else ""
        raise ConfigError(f"arch.args.pretrained: {error}{advice}") from error
    except OSError as error:
        raise ConfigError(f"arch.args.pretrained: {path}: cannot be read ({error.strerror})") from error
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise ConfigError(f"arch.args.pretrained: {path}: holds no weights by name")
    return state
