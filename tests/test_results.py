"""benchmarks/results.py: claims of docs/results.md that anyone can check."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks import results

ROWS = json.loads(results.ROWS.read_text(encoding="utf-8"))
PAGE = (results.ROOT / "docs/results.md").read_text(encoding="utf-8")


@pytest.fixture
def commands(monkeypatch):
    """Commands that the program runs; training and evaluation are replaced by a run with a mean IoU of 0.9."""
    ran: list[tuple[str, ...]] = []

    def pretend(script: str, *arguments: str) -> None:
        ran.append((script, *arguments))
        if script == "train.py":
            folder = next(a.partition("=")[2] for a in arguments if a.startswith("trainer.save_dir="))
            (Path(folder) / "Net" / "TIME").mkdir(parents=True)
        else:
            report = Path(arguments[arguments.index("--output") + 1])
            report.mkdir()
            (report / "metrics.json").write_text('{"metrics": {"Mean_IoU": 0.9, "Class_Dice": {"car": 0.5}}}')

    monkeypatch.setattr(results, "run_script", pretend)
    return ran


@pytest.mark.parametrize("name", ROWS)
def test_a_row_names_a_config_and_a_figure_of_the_page(name):
    row = ROWS[name]
    assert (results.ROOT / row["config"]).is_file()
    assert any(f"`{row['config']}`" in line and f"{row['value']:.3f}" in line for line in PAGE.splitlines())
    full, fast = (results.claim_of(row, fast=fast) for fast in (False, True))
    assert fast.epochs < full.epochs and 0 < fast.tolerance <= 0.2
    assert 0 < full.tolerance <= 0.05 and len(row["sha256"]) == 64


@pytest.mark.parametrize(
    ("value", "tolerance", "code"), [(0.9, 0.01, 0), (0.8, 0.01, 0), (0.92, 0.01, 1), (0.92, 0.03, 0)]
)
def test_the_exit_code_says_whether_a_claim_holds(
    commands, monkeypatch, tmp_path, capsys, value, tolerance, code
):
    row = ROWS["quick_start"] | {"value": value, "tolerance": tolerance}
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps({"quick_start": row}))
    monkeypatch.setattr(results, "ROWS", rows)
    assert results.main(["quick_start", "--data-dir", "cars", "--keep", str(tmp_path)]) == code
    assert (
        f"Mean_IoU 0.9000, claimed {value} - {tolerance}: {'DOES NOT' if code else 'holds'}"
        in capsys.readouterr().out
    )
    train, evaluate = commands
    assert {"seed=0", "train_loader.args.data_dir=cars", f"trainer.epochs={row['epochs']}"} < set(train)
    assert str(tmp_path / "saved/Net/TIME/best_model.pth") in evaluate


def test_a_class_can_be_claimed():
    assert results.figure_of({"Class_Dice": {"car": 0.5}}, "Class_Dice/car") == 0.5


def test_a_failed_training_is_a_failed_claim(monkeypatch, capsys):
    def fail(script: str, *arguments: str) -> None:
        raise subprocess.CalledProcessError(3, [script])

    monkeypatch.setattr(results, "run_script", fail)
    assert results.main(["quick_start", "--fast"]) == 1
    assert "train.py ended with 3" in capsys.readouterr().err


def test_without_a_name_the_claims_are_listed(capsys):
    assert results.main([]) == 0
    assert capsys.readouterr().out.count("\n") == len(ROWS)
