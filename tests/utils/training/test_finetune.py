"""Starting from another checkpoint."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from utils.dataset_info import DatasetInfo
from utils.errors import CheckpointError
from utils.run.names import strip_wrappers
from utils.training.finetune import load_matching, summarise


def info(*classes):
    return DatasetInfo(classes=classes, palette=tuple((i, i, i) for i in range(len(classes))))


def network(classes, seed):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, classes, 1),
        nn.ConvTranspose2d(classes, classes, 2, 2, bias=False),
    )  # fmt: skip


def checkpoint(model, *classes, **more):
    return {"model": model.state_dict(), "dataset": info(*classes).to_plain(), **more}


def test_the_same_classes_are_loaded_completely():
    old, new = network(3, 0), network(3, 1)
    table = load_matching(new, checkpoint(old, "a", "b", "c"), info("a", "b", "c"))
    assert {entry.outcome for entry in table} == {"loaded"}
    assert all(
        torch.equal(a, b) for a, b in zip(old.state_dict().values(), new.state_dict().values(), strict=True)
    )


def test_head_rows_follow_the_class_names():
    old, new = network(3, 0), network(4, 1)
    before = {k: v.clone() for k, v in new.state_dict().items()}
    table = load_matching(new, checkpoint(old, "road", "sky", "car"), info("Sky", "tree", "Car", "bird"))
    assert torch.equal(new[0].weight, old[0].weight)
    assert torch.equal(new[2].weight[[0, 2]], old[2].weight[[1, 2]])
    assert torch.equal(new[2].bias[[0, 2]], old[2].bias[[1, 2]])
    assert torch.equal(new[2].weight[[1, 3]], before["2.weight"][[1, 3]])
    assert torch.equal(new[3].weight[0, 2], old[3].weight[1, 2])  # rows and columns are classes
    assert torch.equal(new[3].weight[1], before["3.weight"][1])
    kinds = {entry.name: entry.outcome for entry in table}
    assert kinds["2.weight"] == kinds["3.weight"] == "rows by class" and kinds["0.weight"] == "loaded"
    text = summarise(table, 0)
    assert "2.bias" in text and "rows by class: 2 of 4" in text and "0.weight" not in text


def test_permuted_classes_of_equal_number_are_matched_too():
    old, new = network(3, 0), network(3, 1)
    load_matching(new, checkpoint(old, "a", "b", "c"), info("c", "a", "b"))
    assert torch.equal(new[2].weight, old[2].weight[[2, 0, 1]])


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_wrappers_are_stripped(prefix):
    old, new = network(3, 0), network(3, 1)
    state = {prefix + k: v for k, v in old.state_dict().items()}
    load_matching(new, {"state_dict": state}, info("a", "b", "c"))
    assert torch.equal(new[2].weight, old[2].weight)


def test_only_a_prefix_of_every_name_is_a_wrapper():
    weights = {"module.a": torch.zeros(1), "modules.b": torch.zeros(1)}
    assert strip_wrappers(weights).keys() == weights.keys()
    assert strip_wrappers({"backbone_module.x": torch.zeros(1)}).keys() == {"backbone_module.x"}


def test_average_weights_are_preferred():
    plain, average, new = network(3, 0), network(3, 1), network(3, 2)
    load_matching(new, checkpoint(plain, "a", "b", "c", ema=average.state_dict()), info("a", "b", "c"))
    assert torch.equal(new[0].weight, average[0].weight)


def test_refuses_when_almost_nothing_fits_and_changes_nothing():
    old, new = nn.Sequential(nn.Conv2d(3, 9, 3)), network(3, 1)
    before = {k: v.clone() for k, v in new.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"init_from: only 0 of the model's .*first missing: 0\.weight"):
        load_matching(new, checkpoint(old, "a", "b", "c"), info("a", "b", "c"))
    assert all(torch.equal(before[k], v) for k, v in new.state_dict().items())


@pytest.mark.parametrize("nothing", [{}, {"model": {}}, {"epoch": 3, "config": {"a": 1}}])
def test_a_file_without_weights_is_refused(nothing):
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_matching(network(3, 0), nothing, info("a", "b", "c"))
