"""Reading of weights from a file of torch, safetensors or Keras, or from an installed package."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.weights.known import KNOWN_FILES, KnownFile, known_file, known_package, vgg16_from_hed
from utils.dataset_info import Normalisation
from utils.errors import CheckpointError, ConfigError, first_line
from utils.run.names import strip_wrappers
from utils.system.tensor_file import UnsafeFileError, read_tensors, require_content, sha256_of

KEY = "arch.args.pretrained"
PACKAGE = "pip:"
_SUFFIXES = {".pth", ".pt", ".bin", ".safetensors", ".h5"}
_AGAIN, _OWN = "copy it again", "write the network's state_dict() with torch.save"
_BELOW = ("state_dict_ema", "state_dict", "model_state_dict", "model_ema", "ema", "model")


class Weights(NamedTuple):
    """Tensors of a file.

    Attributes:
        state: tensors by name, without the prefixes of wrappers.
        source: what the config names, for messages.
        normalisation: what they were trained with, where the file is a known one.
    """

    state: dict[str, Tensor]
    source: str
    normalisation: Normalisation | None = None


def read_weights(pretrained: str) -> Weights:
    """Read the weights that a config names.

    Args:
        pretrained: a path, or ``pip:PACKAGE`` for the file in an installed package.

    Raises:
        ConfigError: there is no such file or package, or it is damaged, or holds no weights by name.
    """
    if pretrained.startswith(PACKAGE):
        path, known = _in_package(pretrained)
        remedy = "reinstall the package"
    else:
        path, remedy = Path(pretrained), _AGAIN
        known = known_file(path) if path.is_file() else None
        if known is not None and path.name != known.file and sha256_of(path) != known.sha256:
            known = None  # of the same length only
    if known is not None and sha256_of(path) != known.sha256:
        raise ConfigError(
            f"{KEY}: {path}: is damaged: its content does not match the hash of {known.file}; {remedy}"
        )
    return Weights(read_state(path, remedy), pretrained, None if known is None else known.normalisation)


def read_state(path: Path, remedy: str) -> dict[str, Tensor]:
    """Read the tensors of a file by name.

    Args:
        path: the file.
        remedy: what to do about a damaged file.

    Raises:
        ConfigError: as :func:`read_weights`.
    """
    try:
        state = read_file(path)
    except UnsafeFileError as error:
        raise ConfigError(f"{KEY}: {error}; {_OWN if remedy == _AGAIN else remedy}") from error
    except CheckpointError as error:
        advice = f"; {remedy}" if path.is_file() else ""
        raise ConfigError(f"{KEY}: {error}{advice}") from error
    except OSError as error:
        raise ConfigError(f"{KEY}: {path}: cannot be read ({error.strerror or first_line(error)})") from error
    tensors = _named_tensors(state)
    if not tensors:
        raise ConfigError(f"{KEY}: {path}: holds no weights by name")
    return strip_wrappers(tensors)


def read_file(path: Path) -> Any:
    """Read a file of torch, safetensors or Keras; nothing in it is executed.

    Raises:
        CheckpointError: it is missing or damaged, or the package that reads it is.
    """
    require_content(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _read_keras(path) if path.suffix == ".h5" else read_tensors(path)


def _named_tensors(state: Any) -> dict[str, Tensor]:
    """Return the tensors of a state dict, or of the first one under a usual key."""
    if not isinstance(state, Mapping):
        return {}
    for candidate in (*(state.get(key) for key in _BELOW), state):
        if isinstance(candidate, Mapping) and candidate:
            named = {k: v for k, v in candidate.items() if isinstance(k, str) and isinstance(v, Tensor)}
            if len(named) == len(candidate):
                return named
    return {}


def _in_package(pretrained: str) -> tuple[Path, KnownFile | None]:
    """Return the file of weights in an installed package."""
    name = pretrained.removeprefix(PACKAGE)
    known = known_package(name)
    try:
        files = importlib.metadata.distribution(name).files or []
    except (importlib.metadata.PackageNotFoundError, ValueError) as error:
        packages = ", ".join(known.package for known in KNOWN_FILES)
        advice = known.install if known else f"known ones: {packages}"
        raise ConfigError(f"{KEY}: {pretrained}: no such package is installed; {advice}") from error
    return _only_file(pretrained, [Path(str(file.locate())) for file in files], known), known


def _only_file(pretrained: str, files: Sequence[Path], known: KnownFile | None) -> Path:
    """Return the file of weights among those of a package."""
    paths = [
        path for path in files if path.suffix in _SUFFIXES and (known is None or path.name == known.file)
    ]
    if known is not None and not paths:
        raise ConfigError(
            f"{KEY}: {pretrained}: the installed package does not hold {known.file}; reinstall it"
        )
    if len(paths) != 1:
        count = f"{len(paths)} files" if paths else "no file"
        raise ConfigError(
            f"{KEY}: {pretrained}: the package holds {count} of weights, where one is expected; give a path"
        )
    if not paths[0].is_file():
        raise ConfigError(f"{KEY}: {pretrained}: {paths[0]}: no such file; reinstall the package")
    return paths[0]


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise CheckpointError(f"{path}: needs safetensors: pip install safetensors") from error
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: cannot be read as weights ({first_line(error)})") from error
    return tensors


def _read_keras(path: Path) -> dict[str, Tensor]:
    """Read the VGG16 of HED from a file of Keras."""
    try:
        import h5py
    except ImportError as error:
        needs = "needs h5py: pip install -r requirements/pretrained.txt"
        raise CheckpointError(f"{path}: reading it {needs}") from error
    arrays: dict[str, Tensor] = {}

    def keep(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name] = torch.from_numpy(item[()])

    try:
        with h5py.File(path, "r") as file:
            file.visititems(keep)
        return vgg16_from_hed(arrays)
    except (OSError, TypeError, ValueError, KeyError, RuntimeError) as error:
        reason = "is not HED's VGG16, the only file of Keras that is known here"
        raise CheckpointError(f"{path}: {reason} ({first_line(error)})") from error
