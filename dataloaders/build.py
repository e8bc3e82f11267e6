"""Opening the data sets that a config names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dataloaders
from base import BaseDataLoader, BaseDataSet
from dataloaders.agreement import require_apart, require_same_info
from utils.config.annotations import NonNegativeInt
from utils.config.factory import Catalogue, Component, build, find, require
from utils.config.parse import Mistakes, read_section
from utils.config.sections import Experiment
from utils.errors import ConfigError

_OF_BATCHES = ("sampler", "sampler_threshold", "mix")  # training alone has them, and they count masks
DATA_SETS = Catalogue(dataloaders, BaseDataLoader, "data set", frozenset({"seed"}))


@dataclass(frozen=True)
class DataSections:
    """The sections of a config that name data; for programs that need no other.

    Attributes:
        train_loader: the training data.
        val_loader: the validation data; ``None`` takes ``val_split`` of the training data.
        seed: start of every random draw.
        allow_overlap: accept validation images that are training images too.
    """

    train_loader: Component | None = None
    val_loader: Component | None = None
    seed: NonNegativeInt = Experiment.seed
    allow_overlap: bool = Experiment.allow_overlap

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> DataSections:
        """Read the sections of a config, whatever else it holds.

        Raises:
            ConfigError: with every mistake in them.
        """
        found = Mistakes()
        keys = inspect.signature(cls).parameters
        sections = read_section(cls, {key: config[key] for key in keys if key in config}, "", found)
        if found.problems:
            raise ConfigError(found.problems)
        return sections


def open_loader(component: Component, path: str, seed: int) -> BaseDataLoader:
    """Open the data that a component names.

    Args:
        component: checked, or from :class:`DataSections`.
        path: its JSON path, for messages.
        seed: start of every random draw.

    Raises:
        ConfigError: unknown data set or argument.
        DataError: the data is not as it should be.
    """
    return build(DATA_SETS, component, path, seed=seed)


def build_loaders(experiment: Experiment) -> tuple[BaseDataLoader, BaseDataLoader | None]:
    """Open the training data, and the validation data: a loader of its own or a split of the training data.

    Raises:
        ConfigError: an argument was refused, or the two differ in classes, channels or normalisation.
        DataError: the data is not as it should be, or an image is in both.
    """
    train_loader = open_loader(experiment.train_loader, "train_loader", experiment.seed)
    if not experiment.trainer.val:
        return train_loader, None
    if experiment.val_loader is None:
        val_loader = train_loader.get_val_loader()
    else:
        val_loader = open_loader(experiment.val_loader, "val_loader", experiment.seed)
        require_same_info(train_loader.info, val_loader.info)
    if val_loader is not None and not experiment.allow_overlap:
        require_apart(train_loader, val_loader)
    return train_loader, val_loader


def examined_datasets(sections: DataSections) -> dict[str, BaseDataSet]:
    """Open every data set of a config for examination, by title.

    Raises:
        ConfigError: the sections are missing or wrong.
        DataError: the files cannot even be listed.
    """
    if sections.train_loader is None:
        raise ConfigError("train_loader: missing; it says which data to examine")
    found: dict[str, BaseDataSet] = {}
    for path in ("train_loader", "val_loader"):
        component: Component | None = getattr(sections, path)
        if component is None:
            continue
        # one image a batch, nothing counted: the size and the content of a batch are questions for training
        alone = {"batch_size": 1, "num_workers": 0, "cache": None}
        single = _with_arguments(_without(component, _OF_BATCHES), alone)
        require(DATA_SETS, single, path)
        loader = open_loader(single, path, sections.seed)
        found[f"{path} ({loader.dataset.split})"] = loader.dataset
        rest = loader.get_val_loader()
        if rest is not None:
            found[f"{path} (val_split)"] = rest.dataset
    return found


def batch_problems(sections: DataSections, datasets: Mapping[str, BaseDataSet]) -> list[str]:
    """Return a line for each section whose ``batch_size`` is more than the images that it trains on.

    Args:
        sections: of the config.
        datasets: of :func:`examined_datasets`.
    """
    found = []
    for path in ("train_loader", "val_loader"):
        component: Component | None = getattr(sections, path)
        if component is None:
            continue
        dataset = next(data for title, data in datasets.items() if title.startswith(f"{path} ("))
        batch, length = component.args["batch_size"], len(dataset) * component.args.get("repeat", 1)
        if batch != "auto" and not dataset.val and length < batch:
            found.append(f"{path}.args.batch_size: {batch} is more than the {length} images of an epoch")
    return found


def shown_loader(sections: DataSections, *, val: bool) -> tuple[BaseDataLoader, str]:
    """Open the training or the validation data as training sees it; return it with the section's name.

    Raises:
        ConfigError: the section is missing or wrong.
        DataError: the data is not as it should be.
    """
    path = "val_loader" if val and sections.val_loader else "train_loader"
    component = sections.val_loader if path == "val_loader" else sections.train_loader
    if component is None:
        raise ConfigError(f"{path}: missing; it says which data to show")
    require(DATA_SETS, component, path)
    loader = open_loader(_with_number(component), path, sections.seed)
    if not val or path == "val_loader":
        return loader, path
    rest = loader.get_val_loader()
    if rest is None:
        raise ConfigError("the config has neither val_loader nor val_split")
    return rest, path


def evaluation_dataset(
    sections: DataSections, split: str | None = None, data_dir: str | None = None
) -> BaseDataSet:
    """Open a split with its images as they are on disk: no scaling, no crop, nothing random.

    Without ``split`` and without a ``val_loader`` section, this is the part that ``val_split`` kept back.

    Args:
        sections: of the training's config.
        split: one of the data set's splits; ``None`` is the one that training validated on.
        data_dir: folder of the data; ``None`` is the config's.

    Raises:
        ConfigError: the config has no data set, or no validation data.
        DataError: the data is not as it should be.
    """
    path = "val_loader" if sections.val_loader else "train_loader"
    component = sections.val_loader or sections.train_loader
    if component is None:
        raise ConfigError("the checkpoint's config names no data set; give one with --config")
    if data_dir is not None:
        component = _with_arguments(component, {"data_dir": data_dir})
    if split is None and path == "train_loader":
        require(DATA_SETS, component, path)
        plain = _without(_with_number(component), _OF_BATCHES)
        rest = open_loader(plain, path, sections.seed).get_val_loader()
        if rest is None:
            raise ConfigError("the config has neither val_loader nor val_split: name a --split")
        return rest.dataset
    component = _without_changes(component, path)
    if split is not None:
        component = _with_arguments(component, {"split": split})
    require(DATA_SETS, component, path)
    return open_loader(component, path, sections.seed).dataset


def _without(component: Component, names: Sequence[str]) -> Component:
    kept = {name: value for name, value in component.args.items() if name not in names}
    return replace(component, args=kept)


def _with_arguments(component: Component, args: dict[str, Any]) -> Component:
    return replace(component, args={**component.args, **args})


def _with_number(component: Component) -> Component:
    """Put batches of one image for ``auto``, which only a training resolves."""
    return (
        _with_arguments(component, {"batch_size": 1}) if component.args["batch_size"] == "auto" else component
    )


def _without_changes(component: Component, path: str) -> Component:
    """Keep the arguments that say which data; drop those that change images."""
    plain = {"batch_size": 1, "num_workers": 0, "val": True, "crop_size": None, "base_size": None}
    drop = ("augment", "val_split", "drop_last", "shuffle", "repeat", "erase", *_OF_BATCHES)
    component = _without(component, drop)
    known = inspect.signature(find(DATA_SETS, component.type, f"{path}.type")).parameters
    return _with_arguments(component, {name: value for name, value in plain.items() if name in known})
