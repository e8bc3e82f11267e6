"""Differences between two configs, and which of them a resumed run may have."""

from __future__ import annotations

import copy

from tests.experiments import experiment_of
from utils.config.changes import differences, refused_changes

CONFIG = {
    "name": "run",
    "arch": {"type": "UNet", "args": {"base_channels": 4}},
    "train_loader": {"type": "Shapes", "args": {"split": "train", "batch_size": 4}},
    "val_loader": {"type": "Shapes", "args": {"split": "val", "batch_size": 4, "val": True}},
    "optimizer": {"type": "SGD", "args": {"lr": 0.1}},
    "trainer": {"epochs": 2},
}


def refused(**changes):
    """Return the refused paths after values are set at dotted paths (__ for a dot)."""
    new = copy.deepcopy(CONFIG)
    for path, value in changes.items():
        node, keys = new, path.split("__")
        for key in keys[:-1]:
            node = node.setdefault(key, {})
        node[keys[-1]] = value
    return set(refused_changes(CONFIG, experiment_of(new)))


def test_differences_names_paths():
    old, new = {"a": {"b": 1, "c": 2}, "d": 1}, {"a": {"b": 1, "c": 3}, "e": True}
    assert differences(old, new) == {"a.c": (2, 3), "d": (1, None), "e": (None, True)}
    assert differences({"a": 1}, {"a": True}) == {"a": (1, True)}


def test_an_object_that_one_of_them_lacks_counts_as_empty():
    assert differences({}, {"args": {"x": 1}}) == {"args.x": (None, 1)}
    assert differences({"a": None}, {"a": {"x": 1}}) == {"a": (None, {"x": 1})}


def test_options_that_leave_results_as_they_are_may_change():
    assert not refused(
        n_gpu=0, num_threads=1, trainer__save_dir="elsewhere", trainer__save_minutes=1,
        train_loader__args__num_workers=2, val_loader__args__num_workers=2, train_loader__args__cache="ram",
        val_loader__args__batch_size=2,
    )  # fmt: skip


def test_options_that_decide_the_result_may_not():
    assert refused(seed=1) == {"seed"}
    assert refused(optimizer__args__lr=0.2) == {"optimizer.args.lr"}
    assert refused(train_loader__args__batch_size=2) == {"train_loader.args.batch_size"}
    assert refused(trainer__epochs=3) == {"trainer.epochs"}


def test_the_mark_belongs_to_one_option_and_not_to_names_that_begin_like_it():
    assert refused(train_loader__args__shuffle=False) == {"train_loader.args.shuffle"}
    assert refused(arch__args__base_channels=8) == {"arch.args.base_channels"}
    assert refused(arch={"type": "ENet"}) == {"arch.type", "arch.args.base_channels"}
