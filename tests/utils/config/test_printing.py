"""The annotated config: every value with its origin, and itself a config."""

from __future__ import annotations

import json

import pytest

import train
from tests.conftest import ROOT
from train import read_experiment
from utils.config.file import parse_config
from utils.config.printing import annotated


@pytest.mark.slow
def test_the_text_reads_back_as_the_same_config():
    for file in (ROOT / "config.json", *sorted((ROOT / "configs").glob("*.json"))):
        experiment = read_experiment(file)
        assert parse_config(annotated(experiment)) == experiment.plain, file


def test_values_show_the_file_the_override_or_the_default_that_they_come_from(tmp_path):
    base = tmp_path / "base.json"
    base.write_text((ROOT / "config.json").read_text(encoding="utf-8"))
    child = tmp_path / "child.json"
    child.write_text(json.dumps({"extends": "base.json", "trainer": {"epochs": 3}}))
    text = annotated(read_experiment(child, ["arch.args.base_channels=8"]))
    lines = [line.strip() for line in text.splitlines()]
    assert f'"epochs": 3,  // {child}' in lines
    assert '"base_channels": 8  // --set' in lines
    assert any(line.startswith('"save_period": 3') and line.endswith(str(base)) for line in lines)
    assert '// "bilinear": false  (default)' in lines
    assert '// "precision": "auto"  (default)' in lines
    assert not any('"params"' in line or '"num_classes"' in line for line in lines)


def test_train_prints_it_and_builds_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train.main(["-c", str(ROOT / "config.json"), "--print-config"]) == 0
    assert parse_config(capsys.readouterr().out)["name"] == "UNet_Shapes"
    assert not list(tmp_path.iterdir())
