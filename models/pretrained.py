"""Loading of ImageNet weights into a backbone: from torchvision's cache, by download if asked, or from a file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from utils.errors import ConfigError
from utils.system.lazy import lazy_import

tv = lazy_import("torchvision.models")


def load_pretrained(model: nn.Module, pretrained: bool | str, name: str) -> None:
    """Load ImageNet weights into a torchvision model.

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
                "give its path as 'pretrained', or set that to false"
            ) from error
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ConfigError(
            f"arch.args.pretrained: {pretrained if isinstance(pretrained, str) else 'torchvision'}: "
            f"the weights are not those of {name}: {str(error).splitlines()[-1].strip()}"
        ) from error


def load_file(model: nn.Module, path: str) -> None:
    """Load the weights in the file ``path`` into a backbone that torchvision does not have.

    Raises:
        ConfigError: the file cannot be read or does not fit.
    """
    try:
        model.load_state_dict(_read(Path(path)))
    except RuntimeError as error:
        raise ConfigError(
            f"arch.args.pretrained: {path}: the weights are not those of {type(model).__name__}: "
            f"{str(error).splitlines()[-1].strip()}"
        ) from error


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


def _read(path: Path) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConfigError(f"arch.args.pretrained: {path}: no such file") from None
    except Exception as error:  # the unpickler raises almost anything on arbitrary bytes
        raise ConfigError(f"arch.args.pretrained: {path}: cannot be read as weights") from error
    return state
