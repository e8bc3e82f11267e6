"""Transforms of the albumentations library, named in a config."""

from __future__ import annotations

import difflib
import inspect
import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from utils.dataset_info import IGNORE_INDEX


class Albumentations:
    """A list of albumentations transforms, drawn from our own generator.

    What a transform brings in from outside the picture is void in the label, unless its arguments say
    otherwise.

    Args:
        specs: ``{"type": "GaussNoise", "args": {"p": 0.3}}`` each.
        fill: colour of what lies outside.

    Raises:
        ValueError: the package is not installed, or has no such transform, or refuses the arguments.
    """

    def __init__(self, specs: Sequence[Mapping[str, Any]], fill: tuple[int, ...]) -> None:
        self._specs = [dict(spec) for spec in specs]
        self._fill = fill
        self._local = threading.local()  # a pipeline holds its own generators: one per thread
        self._build()

    def __getstate__(self) -> dict[str, Any]:
        return {"_specs": self._specs, "_fill": self._fill}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._local = threading.local()

    def __call__(
        self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Transform (H, W, C) uint8 and (H, W) uint8 together."""
        if not hasattr(self._local, "pipeline"):
            self._local.pipeline = self._build()
        pipeline = self._local.pipeline
        pipeline.set_random_seed(int(rng.integers(2**31)))
        result = pipeline(image=np.ascontiguousarray(image), mask=np.ascontiguousarray(label))
        changed = result["image"]
        return changed if changed.ndim == 3 else changed[..., None], result["mask"]

    def _build(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks for a newer version of itself when imported
            try:
                import albumentations
            except ImportError as error:
                raise ValueError(
                    "albumentations: the package is not installed; pip install -r requirements/albumentations.txt"
                ) from error
        return albumentations.Compose([self._make(albumentations, spec) for spec in self._specs])

    def _make(self, library: Any, spec: Mapping[str, Any]) -> Any:
        name, args = str(spec.get("type", "")), dict(spec.get("args", {}))
        cls = getattr(library, name, None)
        if not (inspect.isclass(cls) and issubclass(cls, library.BasicTransform)):
            close = difflib.get_close_matches(name, dir(library), n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise ValueError(f"albumentations: it has no transform '{name}'{hint}")
        known = inspect.signature(cls).parameters
        unknown = sorted(set(args) - set(known))
        if unknown:
            raise ValueError(
                f"albumentations: {name} has no argument '{unknown[0]}'; it takes: {', '.join(known)}"
            )
        if "fill_mask" in known:
            args = {"fill_mask": IGNORE_INDEX, "fill": self._fill, **args}
        try:
            return cls(**args)
        except Exception as error:  # its own checks raise pydantic's errors
            raise ValueError(f"albumentations: {name}: {' '.join(str(error).split())}") from error
