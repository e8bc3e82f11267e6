"""Every shipped config is right, and every mutation of it is one clear line or a valid config."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataloaders.build import DATA_SETS
from tests.conftest import ROOT
from tests.experiments import experiment_of, problems_of
from utils.config.file import load_config, parse_config

SHIPPED = [ROOT / "config.json", *sorted((ROOT / "configs").glob("*.json"))]
WRONG: list[Any] = [None, True, -1, 0, 1.5, 1e9, "", "x" * 300, [], [1], {}, {"a": 1}]


def load(file: Path) -> dict[str, Any]:
    """Read a config as train.py does: the older smp form in its normal form."""
    return load_config(file)


def paths(node: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in node.items():
        yield (*prefix, key)
        if isinstance(value, dict):
            yield from paths(value, (*prefix, key))


def parent_of(config: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for key in path[:-1]:
        config = config[key]
    return config


def fresh_paths(file: Path) -> list[tuple[str, ...]]:
    """Return the paths of a config that no earlier one has within components of the same types."""

    def surroundings(config: dict[str, Any]) -> dict[tuple[tuple[str, str], ...], tuple[str, ...]]:
        found = {}
        for path in paths(config):
            nodes = [parent_of(config, path[: i + 1]) for i in range(len(path))]
            found[tuple((key, str(node.get("type"))) for key, node in zip(path, nodes, strict=True))] = path
        return found

    earlier = {key for other in SHIPPED[: SHIPPED.index(file)] for key in surroundings(load(other))}
    return [path for key, path in surroundings(load(file)).items() if key not in earlier]


def assert_clear(problems: list[str], path: tuple[str, ...]) -> None:
    assert problems
    assert all("\n" not in problem for problem in problems)
    sections = {".".join(path[: i + 1]) for i in range(len(path))}
    named = [p for p in problems if p.startswith(tuple(sections)) or f"give one, or {'.'.join(path)}" in p]
    assert named, problems


@pytest.mark.parametrize("file", SHIPPED, ids=lambda p: p.name)
def test_shipped_configs_are_right(file: Path):
    config = load(file)
    assert problems_of(config) == []
    experiment_of(config)


@pytest.mark.slow
@pytest.mark.parametrize("file", SHIPPED, ids=lambda p: p.name)
def test_every_misspelt_key_is_named(file: Path):
    config = load(file)
    for path in paths(config):
        if "values" in path[:-1]:  # names of classes, compared with the classes when the data set is built
            continue
        mutated = copy.deepcopy(config)
        parent = parent_of(mutated, path)
        wrong = path[-1][:-1] + "zq" if len(path[-1]) > 1 else path[-1] + "zq"
        parent[wrong] = parent.pop(path[-1])
        assert_clear(problems_of(mutated), (*path[:-1], wrong))


@pytest.mark.slow
@pytest.mark.parametrize("file", SHIPPED, ids=lambda p: p.name)
def test_every_removed_key_is_named_or_has_a_default(file: Path):
    config = load(file)
    for path in paths(config):
        mutated = copy.deepcopy(config)
        del parent_of(mutated, path)[path[-1]]
        problems = problems_of(mutated)
        if problems:
            assert_clear(problems, path)
        else:
            experiment_of(mutated)


@pytest.mark.slow
@pytest.mark.parametrize("file", SHIPPED, ids=lambda p: p.name)
def test_every_wrong_value_is_named_or_valid(file: Path):
    config = load(file)
    for path in fresh_paths(file):
        for value in WRONG:
            mutated = copy.deepcopy(config)
            parent_of(mutated, path)[path[-1]] = copy.deepcopy(value)
            problems = problems_of(mutated)
            if problems:
                assert_clear(problems, path)
            else:
                experiment_of(mutated)


def test_every_data_set_has_a_recipe_that_the_docs_list():
    kinds = {load(file)["train_loader"]["type"] for file in SHIPPED}
    assert kinds == DATA_SETS.classes().keys() - {"Cityscapes"}  # another name of one
    listed = re.findall(r"\(\.\./configs/([\w.]+)\)", (ROOT / "docs" / "data.md").read_text(encoding="utf-8"))
    assert sorted(listed) == [file.name for file in SHIPPED[1:]]


def test_the_older_smp_form_is_among_the_recipes():
    raw = parse_config((ROOT / "configs" / "tianchi_smp.json").read_text(encoding="utf-8"))
    assert raw["smp"] is True and "arch" not in raw
    arch = load(ROOT / "configs" / "tianchi_smp.json")["arch"]
    assert arch["type"] == "SMP" and arch["args"]["architecture"] == raw["smp_args"]["type"]


@pytest.mark.slow
def test_a_value_that_passes_the_check_trains_or_is_refused_in_one_line(tmp_path, monkeypatch):
    """Build (not train) every mutation of the embedded default that the signatures let through."""
    import train
    from utils.errors import SegwrightError

    monkeypatch.chdir(tmp_path)  # a mutated save_dir may be relative
    config = load_config(ROOT / "config.json")
    config["trainer"]["save_dir"] = str(tmp_path)
    config["trainer"]["tensorboard"] = False
    config["arch"]["args"] = {"base_channels": 4}
    tried = 0
    for path in paths(config):
        for value in WRONG:
            mutated = json.loads(json.dumps(config))
            parent_of(mutated, path)[path[-1]] = value
            if problems_of(mutated) or value == 1e9:
                continue
            tried += 1
            mutated["tune_allocator"] = False
            try:
                train.build_trainer(experiment_of(mutated), "cpu", check_only=True).run.close()
            except SegwrightError as error:
                assert "\n" not in str(error), error
    assert tried > 20


def test_a_config_of_the_template_family_is_accepted_as_it_is():
    family = {
        "name": "FCN",
        "n_gpu": 1,
        "use_synch_bn": False,
        "arch": {"type": "FCN8", "args": {"backbone": "vgg16", "freeze_bn": False, "freeze_backbone": False}},
        "train_loader": {
            "type": "VOC",
            "args": {
                "data_dir": "data/", "batch_size": 8, "base_size": 400, "crop_size": 380, "augment": True,
                "shuffle": True, "scale": True, "flip": True, "rotate": True, "blur": False,
                "split": "train_aug", "num_workers": 8,
            },
        },
        "val_loader": {
            "type": "VOC",
            "args": {
                "data_dir": "data/", "batch_size": 8, "crop_size": 480, "val": True, "split": "val",
                "num_workers": 4,
            },
        },
        "optimizer": {
            "type": "SGD", "differential_lr": True,
            "args": {"lr": 0.01, "weight_decay": 1e-4, "momentum": 0.9},
        },
        "loss": "CrossEntropyLoss2d",
        "ignore_index": 255,
        "lr_scheduler": {"type": "Poly", "args": {}},
        "trainer": {
            "epochs": 80, "save_dir": "saved/", "save_period": 10, "monitor": "max Mean_IoU", "early_stop": 10,
            "tensorboard": True, "log_dir": "saved/runs", "log_per_iter": 20, "val": True, "val_per_epochs": 5,
        },
    }  # fmt: skip
    assert problems_of(family) == []
    experiment_of(family)


def test_activation_checkpointing_with_compile_is_refused():
    config = load(ROOT / "config.json")
    config["trainer"]["activation_checkpointing"] = True
    assert problems_of(config) == []
    config["compile"] = True
    (problem,) = problems_of(config)
    assert problem.startswith("trainer.activation_checkpointing: does not go with compile")
