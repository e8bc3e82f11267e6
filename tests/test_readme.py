"""The README says what the program does: commands, keys, defaults, snippets."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from utils.schema import Experiment, OptimizerSection, SchedulerSection, TrainerSection

README = (ROOT / "README.md").read_text(encoding="utf-8")


def fences(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def documented(section: str) -> dict[str, str]:
    """key -> default, of the table after a heading or a line."""
    rows = re.findall(
        r"^\| `(\w+)` \| (.+?) \|", README.split(section, 1)[1].split("\n\n\n")[0], re.MULTILINE
    )
    return dict(rows)


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


def test_commands_have_the_options_they_show():
    import inference
    import train

    parsers = {"train.py": train.parse_arguments, "inference.py": inference.parse_arguments}
    shown = 0
    for line in README.splitlines():
        for command in line.split("#")[0].split("&&"):
            words = shlex.split(command) if command.strip().startswith("python ") else []
            if len(words) > 2 and words[1] in parsers:
                parsers[words[1]](words[2:])
                shown += 1
    assert shown >= 7


def test_own_model_snippet_works(tmp_path, monkeypatch):
    (snippet,) = [text for text in fences("python") if "class TwoLayers" in text]
    (tmp_path / "my_models.py").write_text(snippet)
    monkeypatch.syspath_prepend(tmp_path)
    import models
    from base import BaseModel
    from utils.factory import build

    (config,) = [text for text in fences("json") if "my_models.TwoLayers" in text]
    spec = json.loads("{" + config + "}")["arch"]
    model = build(models, BaseModel, spec, "arch", num_classes=5, in_channels=3)
    assert model(torch.zeros(1, 3, 7, 9)).logits.shape == (1, 5, 7, 9)


def test_mentioned_files_exist():
    for name in re.findall(r"\]\(([\w./-]+)\)", README):
        assert (ROOT / name).exists(), name
    assert Path(ROOT / "LICENSE").exists()
