"""Transforms of the albumentations library, named in a config."""

from __future__ import annotations

import inspect
import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from utils.config.factory import Component, Problem, did_you_mean, show
from utils.config.parse import Mistakes, read_section
from utils.dataset_info import IGNORE_INDEX
from utils.errors import ConfigError

_INSTALL = "pip install -r requirements/albumentations.txt"
_FLOATS = (
    "returns floats; images stay uint8 here and are normalised by the data set's mean and std: leave it out"
)
# transforms whose results are not uint8 images, with the reason
_REFUSED = {
    "Normalize": _FLOATS,
    "ToFloat": _FLOATS,
    "FromFloat": "takes floats; images are uint8 here: leave it out",
    "ToTensorV2": "returns tensors; batches are made later: leave it out",
    "ToTensor3D": "returns tensors; batches are made later: leave it out",
}
# transforms after which left may be right
MIRRORING = frozenset({"HorizontalFlip", "Flip", "D4", "SquareSymmetry"})


class Albumentations:
    """A sequence of albumentations transforms, drawn from the data set's own generator.

    What a transform brings in from outside the image is void in the label, unless its arguments say
    otherwise.

    Args:
        entries: ``{"type": "GaussNoise", "args": {"p": 0.3}}`` each, without mistakes according to
            :func:`check_albumentations`.
    """

    def __init__(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self._components = [Component.from_plain(entry, "albumentations") for entry in entries]
        self._local = threading.local()  # a pipeline holds its own generators: one per thread

    def __getstate__(self) -> dict[str, Any]:
        return {"_components": self._components}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._local = threading.local()

    def __call__(
        self, image: np.ndarray, label: np.ndarray, fill: tuple[int, ...], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Transform an image and its label together.

        Args:
            image: (H, W, C) uint8.
            label: (H, W) uint8.
            fill: colour of what lies outside the image, one value of 0..255 per channel.
            rng: source of the seed of every draw.

        Returns:
            The image (H', W', C) uint8 and its label (H', W') uint8.

        Raises:
            ConfigError: a transform returned another type, number of channels or shape.
        """
        if getattr(self._local, "fill", None) != fill:
            self._local.fill, self._local.pipeline = fill, self._build(fill)
        pipeline = self._local.pipeline
        pipeline.set_random_seed(int(rng.integers(2**31)))
        result = pipeline(image=np.ascontiguousarray(image), mask=np.ascontiguousarray(label))
        changed, mask = result["image"], result["mask"]
        if getattr(changed, "ndim", 0) == 2:
            changed = changed[..., None]
        self._check(changed, mask, image.shape[2])
        return changed, mask

    def _check(self, image: Any, label: Any, channels: int) -> None:
        found = [
            f"{getattr(item, 'dtype', type(item).__name__)} {list(item.shape)}" for item in (image, label)
        ]
        for item, shape in ((image, (*label.shape[:2], channels)), (label, tuple(label.shape[:2]))):
            if not isinstance(item, np.ndarray) or item.dtype != np.uint8 or item.shape != shape:
                names = ", ".join(component.type for component in self._components)
                raise ConfigError(
                    f"albumentations ({names}): image and label came back as {found[0]} and {found[1]}; "
                    f"uint8 is expected, [height, width, {channels}] and [height, width] of the same size"
                )

    def _build(self, fill: tuple[int, ...]) -> Any:
        library = _import_library()
        outside = {"fill": fill, "fill_mask": IGNORE_INDEX}
        steps = []
        for component in self._components:
            cls = getattr(library, component.type)
            defaults = outside if "fill_mask" in inspect.signature(cls).parameters else {}
            steps.append(cls(**{**defaults, **component.args}))
        return library.Compose(steps)


def check_albumentations(entries: Sequence[Mapping[str, Any]], path: str) -> list[str]:
    """Return every mistake in a list of transforms, one line each that begins with its JSON path.

    Args:
        entries: ``{"type": ..., "args": {...}}`` each.
        path: JSON path of the list, such as ``train_loader.args.albumentations``.

    Returns:
        Lines such as ``albumentations[1].args.p: GaussNoise: Input should be ...``; a single line if the
        package is not installed.
    """
    try:
        library = _import_library()
    except ImportError:
        return [Problem(path, f"the package is not installed; {_INSTALL}")]
    found = Mistakes()
    for number, entry in enumerate(entries):
        place = f"{path}[{number}]"
        component = read_section(Component, entry, place, found)
        if not found.spoil(f"{place}.type") and not found.spoil(f"{place}.args"):
            found.add(_check_transform(library, component, place))
    return found.problems


def _import_library() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on import it looks for a newer version of itself
        import albumentations
    return albumentations


def _check_transform(library: Any, component: Component, path: str) -> list[str]:
    transforms = {
        name: member
        for name, member in vars(library).items()
        if inspect.isclass(member) and issubclass(member, library.BasicTransform)
    }
    if component.type not in transforms:
        hint = did_you_mean(component.type, transforms)
        return [Problem(f"{path}.type", f"albumentations has no transform '{component.type}'{hint}")]
    if component.type in _REFUSED:
        return [Problem(f"{path}.type", f"{component.type} {_REFUSED[component.type]}")]
    cls = transforms[component.type]
    known = inspect.signature(cls).parameters
    unknown = [name for name in component.args if name not in known]
    if unknown:
        return [
            Problem(
                f"{path}.args.{name}",
                f"{component.type} has no such argument"
                + (did_you_mean(name, known) or f". It takes: {', '.join(known)}"),
            )
            for name in unknown
        ]
    try:
        cls(**component.args)
    except Exception as error:  # a transform may raise anything
        return _refusals(error, component, f"{path}.args")
    return []


def _refusals(error: Exception, component: Component, path: str) -> list[str]:
    """Return one line for each argument that a transform refused; pydantic's errors name the arguments."""
    listed = getattr(error.__cause__, "errors", None)
    if listed is None:
        return [Problem(path, f"{component.type}: {' '.join(str(error).split())}")]
    reasons: dict[str, list[str]] = {}
    for item in listed():
        name = str(item["loc"][0]) if item["loc"] else ""
        reasons.setdefault(name, []).append(str(item["msg"]).removeprefix("Value error, "))
    return [
        Problem(
            f"{path}.{name}" if name else path,
            f"{component.type}: {'; or '.join(dict.fromkeys(messages))}"
            + (f", got {show(component.args[name])}" if name in component.args else ""),
        )
        for name, messages in reasons.items()
    ]
