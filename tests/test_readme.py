"""The README says what the program does: commands, keys, defaults, snippets."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import ROOT
from utils.config.sections import Experiment, OptimizerSection, SchedulerSection, TrainerSection

README = (ROOT / "README.md").read_text(encoding="utf-8")


def fences(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def documented(section: str) -> dict[str, str]:
    """key -> default, of the first table after a heading or a line."""
    table = README.split(section, 1)[1].split("| key |", 1)[1].split("\n\n", 1)[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", table, re.MULTILINE))


def as_text(field: dataclasses.Field) -> str:
    required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    return "required" if required else f"`{json.dumps(field.default)}`"


@pytest.mark.parametrize(("section", "cls"), [("## The config", Experiment), ("`trainer`:", TrainerSection)])
def test_every_key_is_documented_with_its_default(section, cls):
    table = documented(section)
    for field in dataclasses.fields(cls):
        assert table.get(field.name) == as_text(field), field.name


@pytest.mark.parametrize("cls", [OptimizerSection, SchedulerSection])
def test_keys_of_small_sections_are_mentioned(cls):
    for field in dataclasses.fields(cls):
        assert f"`{field.name}`" in README


def test_first_command_sets_up_and_trains_the_embedded_default():
    first = fences("bash")[0]
    assert "pip install -r requirements.txt" in first
    assert first.rstrip().endswith("python train.py --config config.json")


def test_second_setup_command_runs_the_whole_suite():
    block = README.split("## Run the tests", 1)[1]
    command = re.search(r"^```bash\n(.*?)^```", block, re.DOTALL | re.MULTILINE)[1]
    assert "pip install -r requirements-dev.txt" in command
    assert command.rstrip().endswith("python -m pytest")


@pytest.mark.parametrize(("page", "least"), [("README.md", 9), ("docs/inference.md", 8)])
def test_commands_have_the_options_they_show(page, least):
    scripts = ("train", "inference", "evaluate", "vote", "export", "png2rle")
    parsers: dict[str, Any] = {f"{name}.py": importlib.import_module(name) for name in scripts}
    shown = 0
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        for command in line.split("#")[0].split("&&"):
            words = shlex.split(command) if command.strip().startswith("python ") else []
            if len(words) > 2 and words[1] in parsers:
                parsers[words[1]].parse_arguments(words[2:])
                shown += 1
    assert shown >= least


def test_own_model_snippet_works(tmp_path, monkeypatch):
    (snippet,) = [text for text in fences("python") if "class TwoLayers" in text]
    (tmp_path / "my_models.py").write_text(snippet)
    monkeypatch.syspath_prepend(tmp_path)
    import models
    from base import BaseModel
    from utils.config.factory import build

    (config,) = [text for text in fences("json") if "my_models.TwoLayers" in text]
    spec = json.loads("{" + config + "}")["arch"]
    model = build(models, BaseModel, spec, "arch", num_classes=5, in_channels=3)
    assert model(torch.zeros(1, 3, 7, 9)).logits.shape == (1, 5, 7, 9)


def test_own_data_snippet_works(tmp_path, monkeypatch):
    import numpy as np
    from PIL import Image

    import dataloaders
    from base import BaseDataLoader
    from utils.config.factory import build

    (snippet,) = [text for text in fences("python") if "class MineDataSet" in text]
    (tmp_path / "my_data.py").write_text(snippet)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "data" / "train").mkdir(parents=True)
    for number in range(8):
        Image.fromarray(np.full((20, 30, 3), number, np.uint8)).save(tmp_path / f"data/train/{number}.jpg")
        Image.fromarray(np.full((20, 30), number % 3, np.uint8)).save(tmp_path / f"data/train/{number}.png")
    monkeypatch.chdir(tmp_path)
    (config,) = [text for text in fences("json") if "my_data.Mine" in text]
    loader = build(
        dataloaders, BaseDataLoader, json.loads("{" + config + "}")["train_loader"], "train_loader", seed=0
    )
    (batch,) = loader
    assert batch.images.shape == (8, 20, 30, 3)
    assert loader.info.classes == ("background", "leaf", "stem")


def test_folder_snippet_is_a_right_config():
    import dataloaders
    from base import BaseDataLoader
    from utils.config.factory import check_spec

    (config,) = [text for text in fences("json") if '"Folder"' in text]
    spec = json.loads("{" + config + "}")["train_loader"]
    assert check_spec(dataloaders, BaseDataLoader, spec, "train_loader", {"seed"}) == []


def test_common_data_options_have_the_defaults_shown():
    from inspect import Parameter, signature

    from dataloaders import VOC

    parameters = signature(VOC).parameters
    table = documented("the common ones:")
    assert len(table) >= 15
    for name, default in table.items():
        actual = parameters[name].default
        assert default == ("required" if actual is Parameter.empty else f"`{json.dumps(actual)}`"), name


def test_mentioned_files_exist():
    for name in re.findall(r"\]\(([\w./-]+)\)", README):
        assert (ROOT / name).exists(), name
    assert Path(ROOT / "LICENSE").exists()
