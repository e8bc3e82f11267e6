"""The table of architectures: ``python -m models``."""

from __future__ import annotations

import pytest
import torch

from models import __main__ as zoo


def test_multiply_accumulates_are_counted_without_weights():
    with torch.device("meta"):
        model = zoo.build("ENet", {})
    assert zoo.gmacs(model) == pytest.approx(2.0, abs=0.1)  # 512x512, 21 classes
    assert not model.training


@pytest.mark.slow
def test_the_table_has_a_row_for_every_architecture(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["models"])
    monkeypatch.setattr(zoo, "VARIANTS", {**{name: [] for name in zoo.MODELS.classes()}, "ENet": [{}]})
    zoo.main()
    header, _, *rows = capsys.readouterr().out.splitlines()
    assert header.startswith("| model | arguments | parameters")
    assert [row.split(" | ")[:3] for row in rows] == [["| ENet", "default", "364,441"]]


def test_the_list_names_every_architecture_with_what_it_is(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["models", "--list"])
    zoo.main()
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} == set(zoo.MODELS.classes())
    assert any(line.split()[0] == "SegFormer" and "Mix Transformer" in line for line in lines)
