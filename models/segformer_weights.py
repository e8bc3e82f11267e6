"""SegFormer's weights in files of other programs: the authors' names and those of transformers."""

from __future__ import annotations

import logging
import re
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.weights.read import KEY, read_weights
from utils.errors import ConfigError

logger = logging.getLogger(__name__)


class _Naming(NamedTuple):
    """Names in one kind of file, by the names here; {i} counts stages from 0, {n} from 1, {j} counts blocks.

    Attributes:
        wrapper: what precedes the encoder's names in a file with a head.
        encoder: names of the encoder's layers; two joined by + are one layer here.
        head: names of the head's layers after ``decode_head.``.
    """

    wrapper: str
    encoder: dict[str, str]
    head: dict[str, str]


_BLOCK = "stages.{i}.blocks.{j}."
_AUTHORS = _Naming(
    "backbone.",
    {
        "stages.{i}.patch": "patch_embed{n}.proj",
        "stages.{i}.patch_norm": "patch_embed{n}.norm",
        "stages.{i}.norm": "norm{n}",
        _BLOCK + "norm1": "block{n}.{j}.norm1",
        _BLOCK + "norm2": "block{n}.{j}.norm2",
        _BLOCK + "attention.query": "block{n}.{j}.attn.q",
        _BLOCK + "attention.key_value": "block{n}.{j}.attn.kv",
        _BLOCK + "attention.project": "block{n}.{j}.attn.proj",
        _BLOCK + "attention.reduce": "block{n}.{j}.attn.sr",
        _BLOCK + "attention.reduce_norm": "block{n}.{j}.attn.norm",
        _BLOCK + "mlp.widen": "block{n}.{j}.mlp.fc1",
        _BLOCK + "mlp.depthwise": "block{n}.{j}.mlp.dwconv.dwconv",
        _BLOCK + "mlp.narrow": "block{n}.{j}.mlp.fc2",
    },
    {
        "project.{i}": "linear_c{n}.proj",
        "fuse": "linear_fuse.conv",
        "norm": "linear_fuse.bn",
        "classify": "linear_pred",
    },
)
_TRANSFORMERS = _Naming(
    "segformer.",
    {
        "stages.{i}.patch": "encoder.patch_embeddings.{i}.proj",
        "stages.{i}.patch_norm": "encoder.patch_embeddings.{i}.layer_norm",
        "stages.{i}.norm": "encoder.layer_norm.{i}",
        _BLOCK + "norm1": "encoder.block.{i}.{j}.layer_norm_1",
        _BLOCK + "norm2": "encoder.block.{i}.{j}.layer_norm_2",
        _BLOCK + "attention.query": "encoder.block.{i}.{j}.attention.self.query",
        _BLOCK + "attention.key_value": "encoder.block.{i}.{j}.attention.self.key"
        "+encoder.block.{i}.{j}.attention.self.value",
        _BLOCK + "attention.project": "encoder.block.{i}.{j}.attention.output.dense",
        _BLOCK + "attention.reduce": "encoder.block.{i}.{j}.attention.self.sr",
        _BLOCK + "attention.reduce_norm": "encoder.block.{i}.{j}.attention.self.layer_norm",
        _BLOCK + "mlp.widen": "encoder.block.{i}.{j}.mlp.dense1",
        _BLOCK + "mlp.depthwise": "encoder.block.{i}.{j}.mlp.dwconv.dwconv",
        _BLOCK + "mlp.narrow": "encoder.block.{i}.{j}.mlp.dense2",
    },
    {
        "project.{i}": "linear_c.{i}.proj",
        "fuse": "linear_fuse",
        "norm": "batch_norm",
        "classify": "classifier",
    },
)
_FIRST = "stages.0.patch.weight"
_NUMBERED = re.compile(r"^((?:stages|project)\.)(\d+)(?:(\.blocks\.)(\d+))?")


def load_segformer(encoder: nn.Module, head: nn.Module, path: str, name: str) -> None:
    """Load the encoder, and of the head what the file has in the same shape.

    Args:
        encoder: a Mix Transformer, whose weights must all be in the file.
        head: the head of linear layers.
        path: the file.
        name: the encoder's name, for messages.

    Raises:
        ConfigError: the file cannot be read, has other names, or is of another encoder.
    """
    state = read_weights(path).state
    naming, prefix = _find_naming(state, path, name)
    found = _named(encoder, state, naming.encoder, prefix)
    wrong = [key for key, tensor in encoder.state_dict().items() if not _same_shape(found.get(key), tensor)]
    if wrong:
        raise ConfigError(
            f"{KEY}: {path}: the weights are not those of {name}: {len(wrong)} of "
            f"{len(encoder.state_dict())} tensors are missing or of another shape (first: {wrong[0]})"
        )
    encoder.load_state_dict({key: found[key] for key in encoder.state_dict()})
    own = head.state_dict()
    beside = prefix.removesuffix(naming.wrapper) + "decode_head."
    fitting = {
        key: tensor
        for key, tensor in _named(head, state, naming.head, beside).items()
        if _same_shape(tensor, own[key])
    }
    head.load_state_dict(fitting, strict=False)
    logger.info(
        "pretrained: %s: all %d tensors of %s, and %d of the %d of the head", path, len(found), name,
        len(fitting), len(own),
    )  # fmt: skip


def _find_naming(state: dict[str, Tensor], path: str, name: str) -> tuple[_Naming, str]:
    """Return how a file names its layers, and what precedes the encoder's names."""
    for naming in (_AUTHORS, _TRANSFORMERS):
        (first,) = _foreign_names(_FIRST, naming.encoder)
        for key in state:
            if key == first or key.endswith(f".{first}"):
                return naming, key.removesuffix(first)
    raise ConfigError(
        f"{KEY}: {path}: the weights are not those of {name}: no layer is named as the authors "
        "or transformers name the first"
    )


def _named(
    module: nn.Module, state: dict[str, Tensor], names: dict[str, str], prefix: str
) -> dict[str, Tensor]:
    """Return the tensors of a file by the names that they have in ``module``."""
    found = {}
    for own, like in module.state_dict().items():
        parts = [state.get(prefix + name) for name in _foreign_names(own, names)]
        if all(part is not None for part in parts):
            tensor = torch.cat([part for part in parts if part is not None]) if parts[1:] else parts[0]
            assert tensor is not None
            # a linear layer of the authors' head is a 1x1 convolution here
            found[own] = tensor[..., None, None] if (tensor.ndim, like.ndim) == (2, 4) else tensor
    return found


def _foreign_names(own: str, names: dict[str, str]) -> list[str]:
    """Translate ``stages.0.norm.weight``, say, to the names of the tensors in the file that make it up."""
    layer, _, kind = own.rpartition(".")
    numbers = _NUMBERED.match(layer)
    if numbers is None:
        return [f"{names[layer]}.{kind}"]
    stage, block = int(numbers[2]), numbers[4]
    template = numbers[1] + "{i}" + (f"{numbers[3]}{{j}}" if block else "") + layer[numbers.end() :]
    return [f"{name.format(i=stage, n=stage + 1, j=block)}.{kind}" for name in names[template].split("+")]


def _same_shape(one: Tensor | None, other: Tensor) -> bool:
    return one is not None and one.shape == other.shape
