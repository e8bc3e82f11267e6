"""Training and validation data agree in their facts and share no file."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataloaders.agreement import require_same_info
from dataloaders.build import build_loaders
from tests.dataloaders.test_build import experiment
from tests.dataloaders.trees import blocks, picture, save
from tests.parts import INFO
from utils.errors import ConfigError, DataError


@pytest.fixture
def args(tmp_path):
    for number in range(10):
        save(tmp_path / "images" / f"{number}.png", picture((16, 16), number))
        save(tmp_path / "masks" / f"{number}.png", blocks((16, 16), [0, 1], number))
    return {"data_dir": str(tmp_path), "classes": ["a", "b"], "batch_size": 1}


def loaders(args, train=None, val=None, **keys):
    train = {"type": "Folder", "args": {**args, "split": "train", **(train or {})}}
    val = {"type": "Folder", "args": {**args, "split": "val", "val": True, **(val or {})}}
    return build_loaders(experiment(train_loader=train, val_loader=val, **keys))


@pytest.mark.parametrize(
    ("train", "val", "count"),
    [
        ({"val_fraction": 0.2}, {"val_fraction": 0.5}, 3),
        ({"folds": 5, "fold": 0}, {"folds": 5, "fold": 1}, 2),
        ({"split": "all"}, {"split": "all"}, 10),
    ],
)
def test_an_image_in_training_and_in_validation_is_refused(args, train, val, count):
    with pytest.raises(DataError, match=f"val_loader: {count} of its .* are training images too") as caught:
        loaders(args, train, val)
    assert caught.value.kind == "duplicate" and len(caught.value.paths) == count
    assert "allow_overlap" in str(caught.value) and "\n" not in str(caught.value)
    _, accepted = loaders(args, train, val, allow_overlap=True)
    assert len(accepted) >= count


def test_links_to_training_images_are_found(args, tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / "linked").mkdir(exist_ok=True)
        (tmp_path / "linked" / kind).symlink_to(tmp_path / kind)
    with pytest.raises(DataError, match="10 of its 10 images are training images too"):
        loaders(args, {"split": "train"}, {"split": "all", "data_dir": str(tmp_path / "linked")})


def test_parts_of_one_split_are_apart(args):
    train, val = loaders(args, {"val_fraction": 0.3}, {"val_fraction": 0.3})
    assert (len(train.dataset), len(val.dataset)) == (7, 3)


@pytest.mark.parametrize(
    ("val", "words"),
    [
        ({"mean": [0.5, 0.5, 0.5]}, r"differs in mean \[0.5, 0.5, 0.5\], not \[0.485, 0.456, 0.406\]"),
        ({"std": [0.5, 0.5, 0.5]}, r"differs in std \[0.5, 0.5, 0.5\], not \[0.229, 0.224, 0.225\]"),
        ({"channels": 1}, "differs in channels 1, not 3"),
        ({"colors": [[0, 0, 0], [9, 9, 9]]}, r"differs in colours \[\[0, 0, 0\], \[9, 9, 9\]\], not "),
    ],
)
def test_other_facts_of_the_validation_data_are_refused_in_one_line(args, val, words):
    split = {"val_fraction": 0.3}
    with pytest.raises(
        ConfigError, match="val_loader: it must have what train_loader has, but " + words
    ) as e:
        loaders(args, split, {**split, **val})
    assert "\n" not in str(e.value)


def test_every_fact_that_differs_is_named():
    other = replace(INFO, mean=(0.1, 0.2, 0.3), std=(0.1, 0.2, 0.3), label_ids=(7, 8, 9))
    with pytest.raises(ConfigError, match="mean .*; std .*; label_ids") as caught:
        require_same_info(INFO, other)
    assert "colours" not in str(caught.value)
    require_same_info(INFO, INFO)
