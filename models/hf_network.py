"""Construction of a network of transformers from a configuration, and its weights from a folder."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from torch import nn

from utils.config.factory import did_you_mean
from utils.dataset_info import Normalisation
from utils.errors import ConfigError, first_line

logger = logging.getLogger(__name__)

HFName = Literal[
    "segformer", "upernet", "beit", "dpt", "mobilevit", "mobilevitv2", "mask2former", "oneformer", "eomt",
    "eomt_dinov3",
]  # fmt: skip
_CLASSES = {
    "segformer": "SegformerForSemanticSegmentation",
    "upernet": "UperNetForSemanticSegmentation",
    "beit": "BeitForSemanticSegmentation",
    "dpt": "DPTForSemanticSegmentation",
    "mobilevit": "MobileViTForSemanticSegmentation",
    "mobilevitv2": "MobileViTV2ForSemanticSegmentation",
    "mask2former": "Mask2FormerForUniversalSegmentation",
    "oneformer": "OneFormerForUniversalSegmentation",
    "eomt": "EomtForUniversalSegmentation",
    "eomt_dinov3": "EomtDinov3ForUniversalSegmentation",
}
UNIVERSAL = frozenset({"mask2former", "oneformer", "eomt", "eomt_dinov3"})
_KEY = "arch.args.weights"
# of one file of weights, of the data set, or of the program that wrote it
_NOT_RECORDED = {
    "architectures", "id2label", "label2id", "num_labels", "torch_dtype", "dtype", "transformers_version",
    "_name_or_path", "auto_map", "model_type", "_commit_hash",
}  # fmt: skip
# heads for other losses than ours, and parts that would be fetched
_FIXED = {
    "num_channels": 3, "use_auxiliary_head": False, "use_pretrained_backbone": False, "is_training": False,
}  # fmt: skip
_HUB_FILES = ["config.json", "preprocessor_config.json", "*.safetensors", "vocab.json", "merges.txt"]
_NEEDED = 0.5  # share of the network's tensors that a folder must hold


def build_network(
    model: str, given: Mapping[str, Any], num_classes: int, folder: Path | None
) -> tuple[nn.Module, Normalisation | None]:
    """Build a network for images of 3 channels.

    Args:
        model: kind of network.
        given: arguments of its configuration.
        num_classes: number of classes.
        folder: where its weights are; ``None`` draws them.

    Returns:
        The network, and the normalisation that the weights were trained with.

    Raises:
        ValueError: transformers is missing or too old, or refuses the configuration.
        ConfigError: the weights cannot be read, or are of another network.
    """
    package = _import_package()
    cls = getattr(package, _CLASSES[model], None)
    if cls is None:
        raise ValueError(
            f"model: transformers {package.__version__} has no {model}: "
            "pip install --upgrade -r requirements/transformers.txt"
        )
    with _quiet_and_offline(package):
        try:
            config = _configuration(package, model, given, num_classes)
            network: nn.Module = cls(config) if folder is None else _load(cls, config, folder)
        except (ConfigError, MemoryError):
            raise
        except Exception as error:  # every configuration is refused with an error of its own
            raise ValueError(f"config: {model} refuses it ({first_line(error)})") from error
    if folder is None:
        return network, None
    return network, _normalisation(folder, network)


def folder_of(weights: str, hub: bool) -> Path:
    """Return the folder that ``weights`` names, downloaded from the hub if that was asked for.

    Raises:
        ConfigError: there is no such folder, or the hub does not give it.
    """
    folder = Path(weights)
    if folder.is_dir():
        return folder
    if not hub:
        raise ConfigError(
            f'{_KEY}: {weights}: no such folder; "hub": true takes it for a repository of the hub'
        )
    _import_package()  # which brings the next one
    from huggingface_hub import constants, snapshot_download

    from models.weights.fetch import require_hub

    try:
        try:
            return Path(snapshot_download(weights, allow_patterns=_HUB_FILES, local_files_only=True))
        except OSError:
            require_hub()
            return Path(snapshot_download(weights, allow_patterns=_HUB_FILES, etag_timeout=3))
    except Exception as error:  # the hub raises errors of three packages
        if isinstance(error, MemoryError):
            raise
        raise ConfigError(
            f"{_KEY}: config.json of {weights} cannot be downloaded ({first_line(error)}) and is not in "
            f"{constants.HF_HUB_CACHE}; give a folder"
        ) from error


def read_config(folder: Path, model: str) -> dict[str, Any]:
    """Return the arguments of the configuration in a folder, as far as this version knows them.

    Raises:
        ConfigError: it cannot be read, or is of another kind of network.
        ValueError: transformers is missing.
    """
    found = _read_json(folder / "config.json")
    kind = found.get("model_type")
    if kind != model:
        raise ConfigError(
            f"{_KEY}: {folder} holds a network of the kind {kind!r}; arch.args.model is '{model}'"
        )
    known = _known_keys(_import_package(), model)
    return {key: value for key, value in found.items() if key in known and key not in _NOT_RECORDED}


def _configuration(package: Any, model: str, given: Mapping[str, Any], num_classes: int) -> Any:
    known = _known_keys(package, model)
    for key in given:
        if key not in known or key in _NOT_RECORDED:
            raise ValueError(f"'{key}' is no argument of it{did_you_mean(key, known) or ''}")
    config = package.AutoConfig.for_model(model, **given, num_labels=num_classes)
    fixed = {
        "num_channels": 3,
        "use_auxiliary_head": False,
        "use_pretrained_backbone": False,
        "is_training": False,
    }
    for name, value in fixed.items():
        if hasattr(config, name):
            setattr(config, name, value)
    return config


def _known_keys(package: Any, model: str) -> set[str]:
    """Return the names of the arguments that a configuration has in this version."""
    config = package.AutoConfig.for_model(model)
    return {*config.to_dict(), *config.attribute_map}


def _load(cls: Any, config: Any, folder: Path) -> nn.Module:
    import torch

    try:
        network, report = cls.from_pretrained(
            folder, config=config, ignore_mismatched_sizes=True, local_files_only=True,
            output_loading_info=True, dtype=torch.float32,
        )  # fmt: skip
    except Exception as error:
        if isinstance(error, MemoryError):
            raise
        unsafe = isinstance(error, pickle.UnpicklingError)  # whose text advises to run the file
        reason = "a file holds more than tensors and plain types" if unsafe else first_line(error)
        raise ConfigError(f"{_KEY}: {folder}: cannot be read as weights ({reason})") from error
    total = len(network.state_dict())
    new = sorted({*report["missing_keys"], *(str(each[0]) for each in report["mismatched_keys"])})
    if len(new) > (1 - _NEEDED) * total:
        raise ConfigError(
            f"{_KEY}: {folder}: the weights are of another network: {len(new)} of {total} tensors are missing or "
            f"of another shape (first: {new[0]})"
        )
    rest = f"; drawn at random: {', '.join(new[:3])}{', ...' if len(new) > 3 else ''}" if new else ""
    logger.info("%s: %s: %d of %d tensors loaded%s", _KEY, folder, total - len(new), total, rest)
    network.float()
    loaded: nn.Module = network
    return loaded


def _normalisation(folder: Path, network: nn.Module) -> Normalisation:
    """Return the normalisation of the folder's image processor; one that swaps red and blue swaps the weights."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return Normalisation()
    found = _read_json(path)
    if found.get("do_flip_channel_order"):
        first = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
        first.weight.data = first.weight.data.flip(1)
    normalises = found.get("do_normalize", True) and "image_mean" in found
    mean, std = (found["image_mean"], found.get("image_std") or []) if normalises else ([0.0] * 3, [1.0] * 3)
    try:
        # of the images that the processor normalises, whose white is 1 with the usual factor
        white = 255 * found.get("rescale_factor", 1 / 255) if found.get("do_rescale", True) else 255
        _require_three(mean)
        return Normalisation(tuple(m / white for m in mean), tuple(s / white for s in std))
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise ConfigError(f"{_KEY}: {path}: {first_line(error)}") from error


def _require_three(mean: Any) -> None:
    if len(mean) != _FIXED["num_channels"]:
        raise ValueError(f"image_mean: 3 numbers are expected, found {len(mean)}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise ConfigError(f"{_KEY}: {path}: cannot be read ({reason})") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{_KEY}: {path}: holds no JSON object")
    return found


def _import_package() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ValueError(
            f"needs transformers: pip install -r requirements/transformers.txt ({error})"
        ) from error
    if int(transformers.__version__.partition(".")[0]) < 5:
        raise ValueError(
            f"needs transformers 5 or later, not {transformers.__version__}: "
            "pip install --upgrade -r requirements/transformers.txt"
        )
    return transformers


@contextmanager
def _quiet_and_offline(package: Any) -> Iterator[None]:
    """Keep transformers from writing to the terminal, and from asking the hub for anything."""
    from huggingface_hub import constants

    log, online = package.utils.logging, constants.HF_HUB_OFFLINE
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = online
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
