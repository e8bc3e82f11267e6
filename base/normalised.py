"""The normalisation of a data set, which that of a model's weights may replace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from utils.data.cache import DiskCache, MemoryCache
from utils.dataset_info import DatasetInfo, Normalisation


class Normalised:
    """A data set whose mean and standard deviation are its own until a model's weights bring theirs."""

    info: DatasetInfo
    cache: MemoryCache | DiskCache | None
    _given: Mapping[str, Any]  # arguments of the constructor, with its defaults

    @property
    def has_given_normalisation(self) -> bool:
        """True where ``mean`` or ``std`` is among the arguments, rather than a fact of the class."""
        return any(self._given.get(name) is not None for name in ("mean", "std"))

    def normalise_as(self, normalisation: Normalisation) -> None:
        """Take another mean and standard deviation.

        Images in a disk cache keep the colour behind their transparent pixels.
        """
        self.info = replace(self.info, mean=normalisation.mean, std=normalisation.std)
        if isinstance(self.cache, MemoryCache):
            self.cache.source.info = self.info  # type: ignore[attr-defined]
