"""What every registered data set must do, on a small tree in its layout."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dataloaders
from base import BaseDataLoader
from dataloaders.build import DATA_SETS
from tests.dataloaders.trees import BUILDERS
from tests.experiments import open_data
from utils.config.annotations import accepts, describe, may_change
from utils.errors import DataError

NAMES = sorted(DATA_SETS.classes())
ON_DISK = [name for name in NAMES if "data_dir" in inspect.signature(getattr(dataloaders, name)).parameters]


@pytest.fixture
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    return request.param, BUILDERS[request.param](tmp_path)


every = pytest.mark.parametrize("tree", NAMES, indirect=True)


def make(tree: tuple[str, dict[str, Any]], split: str | None = None, **args: Any) -> BaseDataLoader:
    name, given = tree
    split = split or "train"
    return open_data({"type": name, "args": {"split": split, "batch_size": 2, **given, **args}})


def batches(loader: BaseDataLoader, epoch: int = 1, start: int = 0) -> list[Any]:
    loader.set_epoch(epoch, start)
    return list(loader)


def equal(first: list[Any], second: list[Any]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a.images, b.images) and torch.equal(a.target, b.target) and a.image_ids == b.image_ids
        for a, b in zip(first, second, strict=True)
    )


FAMILY = {"base_size": 40, "crop_size": 32, "scale": True, "flip": True, "rotate": True, "blur": True}


@every
def test_training_batches_keep_the_contract(tree):
    loader = make(tree, augment=True, shuffle=True, **FAMILY)
    count = loader.info.num_classes
    for batch in batches(loader):
        assert batch.images.dtype == batch.target.dtype == torch.uint8
        assert batch.images.shape == (2, 32, 32, loader.info.in_channels)
        assert batch.target.shape == (2, 32, 32)
        values = set(batch.target.unique().tolist())
        assert values <= {*range(count), 255}


@every
def test_every_class_fact_agrees(tree):
    info = make(tree).info
    assert len(info.classes) == len(info.palette) >= 2
    assert len(set(info.palette)) >= len(info.palette) - 1  # ADE20K's official one has a colour twice
    assert len(set(info.classes)) == len(info.classes)


@every
def test_validation_gives_whole_images_and_nothing_random(tree):
    """D30, D31."""
    loader = make(tree, val=True)
    labels = {name: label for _, label, name in map(loader.dataset._load_data, range(len(loader.dataset)))}
    seen = []
    for batch in batches(loader):
        for target, name in zip(batch.target, batch.image_ids, strict=True):
            assert np.array_equal(target.numpy(), labels[name])  # never padded
            seen.append(name)
    assert sorted(seen) == sorted(labels)
    assert equal(batches(loader, 1), batches(loader, 2))


@every
def test_val_crop_scales_the_shorter_side_and_cuts_the_centre(tree):
    loader = make(tree, val=True, crop_size=24)
    assert all(batch.images.shape[1:3] == (24, 24) for batch in batches(loader))
    assert all(not (batch.target == 255).all() for batch in batches(loader))


@every
def test_epochs_differ_and_repeat(tree):
    loader = make(tree, **FAMILY)
    assert equal(batches(loader, 1), batches(loader, 1))
    assert not equal(batches(loader, 1), batches(loader, 2))


@every
def test_any_position_of_an_epoch_is_reached_at_once(tree):
    loader = make(tree, **FAMILY)
    whole = batches(loader, 3)
    assert equal(batches(loader, 3, 1), whole[1:])
    assert len(loader) == len(whole)


@every
def test_labels_are_a_subset_and_ids_are_unique(tree):
    loader = make(tree, val=True)
    ids = [name for batch in batches(loader) for name in batch.image_ids]
    assert len(set(ids)) == len(ids) == len(loader.dataset)


@every
def test_items_are_normalised_tensors_like_the_familys(tree):
    dataset = make(tree, val=True, return_id=True).dataset
    image, label, name = dataset[0]
    assert image.dtype == torch.float32 and label.dtype == torch.int64 and isinstance(name, str)
    raw, raw_label, _ = dataset._load_data(0)
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (dataset.info.mean, dataset.info.std))
    assert torch.allclose(image * std + mean, torch.from_numpy(raw).permute(2, 0, 1) / 255, atol=1e-6)
    assert torch.equal(label, torch.from_numpy(raw_label).long())
    dataset.return_id = False
    assert len(dataset[0]) == 2
    with pytest.raises(IndexError):
        dataset[len(dataset)]


@every
def test_the_data_set_pickles(tree):
    import pickle

    dataset = make(tree).dataset
    again = pickle.loads(pickle.dumps(dataset))
    assert np.array_equal(again._load_data(0)[0], dataset._load_data(0)[0])


@every
def test_val_split_is_disjoint_stable_and_never_augmented(tree):
    """D22."""
    loader = make(tree, val_split=1, batch_size=1, **FAMILY)
    rest = loader.get_val_loader()
    groups = set(loader.dataset.groups()), set(rest.dataset.groups())
    assert groups[0] and groups[1] and not groups[0] & groups[1]
    assert equal(batches(rest, 1), batches(rest, 2))
    again = make(tree, val_split=1, batch_size=1, seed=99, **FAMILY).get_val_loader()
    assert again.dataset.groups() == rest.dataset.groups()
    assert make(tree).get_val_loader() is None


@every
def test_the_largest_batch_holds_the_largest_images(tree):
    loader = make(tree, val=True, batch_size=1)
    areas = [np.prod(loader.dataset._load_data(i)[1].shape) for i in range(len(loader.dataset))]
    assert loader.largest_batch().target.numel() == max(areas)


@pytest.mark.parametrize("tree", ON_DISK, indirect=True)
def test_a_missing_folder_is_one_line(tree, tmp_path):
    name, args = tree
    with pytest.raises(DataError, match="nowhere") as caught:
        make((name, {**args, "data_dir": str(tmp_path / "nowhere")}))
    assert "\n" not in str(caught.value)


def test_signatures_carry_no_open_arguments():
    for name in NAMES:
        parameters = inspect.signature(getattr(dataloaders, name)).parameters.values()
        assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters), name
        assert not any(isinstance(p.annotation, str) for p in parameters), name


# name of a parameter -> its default; the published signature of every loader has these, in this order
_FIRST = ["batch_size", "data_dir", "split"]
_LOADER = {
    "shuffle": None, "num_workers": 0, "worker_type": "thread", "val_split": None, "drop_last": None,
    "prefetch_factor": 2, "repeat": 1, "sampler": None, "sampler_threshold": None, "seed": 0,
}  # fmt: skip
_OWN: dict[str, dict[str, Any]] = {
    "CityScapes": {"mode": "fine"},
    "Cityscapes": {"mode": "fine"},
    "COCO": {"partition": "CocoStuff164k"},
    "Shapes": {"num_images": None, "image_size": 96, "num_shapes": 6},
    "Folder": {
        "split": "train", "images": "images", "masks": "masks", "image_suffix": "", "mask_suffix": "",
        "values": None, "void": None, "colors": None, "color_masks": False, "void_colors": None,
        "list_file": None, "val_fraction": None, "folds": None, "fold": 0, "group": None, "channels": 3,
        "value_range": None, "mean": None, "std": None,
    },
}  # fmt: skip
_REQUIRED = {
    "Shapes": ["batch_size", "split"],
    "Folder": ["batch_size", "data_dir", "classes"],
}
_COMMON = {
    "base_size": None, "crop_size": None, "augment": None, "scale": None, "flip": True, "vertical_flip": False,
    "flip_pairs": None, "rotate": False, "elastic": False, "grid": False, "label_elastic": False, "blur": False,
    "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "gamma": False, "exposure": False,
    "color_p": 1.0, "albumentations": None,
    "min_valid": 0.0, "class_crop": 0.0, "mix": None, "erase": None, "cache": None,
    "val": False, "return_id": False,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_published_signature_has_these_options_in_this_order(name):
    parameters = inspect.signature(getattr(dataloaders, name)).parameters.values()
    required = _REQUIRED.get(name, _FIRST)
    defaults = {**_LOADER, **_OWN.get(name, {}), **_COMMON}
    assert [item.name for item in parameters] == [*required, *defaults]
    assert [item.default for item in parameters] == [inspect.Parameter.empty] * len(required) + list(
        defaults.values()
    )


@pytest.mark.parametrize("name", NAMES)
def test_options_that_results_do_not_depend_on_may_change(name):
    """A mark says so, and neither the check of a value nor its description sees the mark."""
    annotations = {
        key: item.annotation for key, item in inspect.signature(getattr(dataloaders, name)).parameters.items()
    }
    free = {"data_dir", "num_workers", "worker_type", "prefetch_factor", "cache"} & annotations.keys()
    assert {key for key in annotations if may_change(annotations[key], "train_loader")} == free
    assert {key for key in annotations if may_change(annotations[key], "val_loader")} == free | {"batch_size"}
    assert not accepts(0, annotations["batch_size"]) and accepts(None, annotations["cache"])
    assert describe(annotations["worker_type"]) == "one of 'thread', 'process'"
    assert describe(annotations["num_workers"]) == "a whole number, between 0 and 1024"
