"""The JSON blocks of all pages are right configs, and the tables of arguments agree with the signatures."""

from __future__ import annotations

import inspect
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import dataloaders
import models
from tests.conftest import ROOT
from tests.docs.pages import PAGES, fences, table
from train import read_experiment
from utils import losses

OWN = re.compile(r'"my_\w+\.')  # classes of docs/architecture.md: test_architecture_page.py runs them
BLOCKS = [
    (page, number, block)
    for page in PAGES
    for number, block in enumerate(fences(page, "json"))
    if not OWN.search(block)
]


def as_overrides(section: dict[str, Any]) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in section.items()]


@pytest.mark.parametrize(("page", "number", "block"), BLOCKS, ids=[f"{page}-{n}" for page, n, _ in BLOCKS])
def test_a_json_block_is_a_right_config(page: str, number: int, block: str, tmp_path: Path):
    if block.lstrip().startswith("{"):
        shutil.copytree(ROOT / "configs", tmp_path / "configs")
        (tmp_path / "mine.json").write_text(block, encoding="utf-8")
        read_experiment(tmp_path / "mine.json", [])
    else:
        section = json.loads("{" + block + "}")
        if section.get("arch", {}).get("args", {}).get("num_classes") == 1:
            section["train_loader"] = json.loads("{" + fences("docs/data.md", "json")[0] + "}")[
                "train_loader"
            ]
        read_experiment(ROOT / "config.json", as_overrides(section))


def test_enough_blocks_are_checked():
    assert len(BLOCKS) >= 8


def test_a_wrong_block_would_be_noticed():
    from utils.errors import ConfigError

    with pytest.raises(ConfigError, match="gama"):
        read_experiment(ROOT / "config.json", ['loss={"type": "FocalLoss", "args": {"gama": 2}}'])


def test_folder_options_have_the_defaults_shown():
    parameters = inspect.signature(dataloaders.Folder).parameters
    rows = table("docs/data.md", "| key | default | meaning |")
    for names, defaults, _ in rows:
        keys = re.findall(r"`(\w+)`", names)
        shown = re.findall(r"required|`([^`]*)`", defaults)
        shown = shown * len(keys) if len(shown) == 1 else shown
        for key, default in zip(keys, shown, strict=True):
            actual = parameters[key].default
            assert default == ("" if actual is inspect.Parameter.empty else json.dumps(actual)), key
    assert len(rows) >= 14


def test_loss_arguments_have_the_defaults_shown():
    rows = table("docs/losses.md", "| name | definition | arguments (default) |")
    assert {row[0].split("`")[1] for row in rows} == {
        name for name in losses.__all__ if not inspect.isabstract(getattr(losses, name))
    }
    for name, _, arguments in rows:
        parameters = inspect.signature(getattr(losses, name.split("`")[1])).parameters
        assert ("weight" in parameters) == ("*w*" in name), name
        for argument, default in re.findall(r"`(\w+)`(?: \(`?([\w.]+))?", arguments):
            if default:
                actual = parameters[argument].default
                shown = actual if isinstance(actual, str) else json.dumps(actual).removesuffix(".0")
                assert default == shown, argument
            else:
                assert argument in (*parameters, "DiceLoss"), argument  # "as `DiceLoss`"


def test_model_arguments_exist_where_the_table_says():
    everywhere = [
        cls for cls in vars(models).values() if inspect.isclass(cls) and issubclass(cls, models.UNet.__base__)
    ]
    for names, owners, _ in table("docs/models.md", "| argument | models | meaning |"):
        named = [getattr(models, name) for name in re.findall(r"`(\w+)`", owners)]
        for argument in re.findall(r"`(\w+)`", names):
            having = [cls for cls in everywhere if argument in inspect.signature(cls).parameters]
            assert having and set(named) <= set(having), argument
            assert owners != "all" or having == everywhere
