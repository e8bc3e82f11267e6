"""Trains a row of docs/results.md from nothing and compares its figure: ``python benchmarks/results.py NAME``.

    python benchmarks/results.py                                    # the names, and what they claim
    python benchmarks/results.py quick_start
    python benchmarks/results.py NAME [--data-dir DIR] [--fast] [--keep FOLDER] [--set KEY=VALUE ...]

The rows stand in benchmarks/results.json: config, seed, figure, tolerance, and the sha256 of all metrics of the
run that the claim comes from. A row is trained with its config and seed, and evaluated on complete images of its
split. ``--fast`` trains a tenth of the epochs (more of few), with a figure and a tolerance of its own: a change
that harms training shows within minutes. Exit code 1: the figure is below the tolerance, or training failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROWS = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class Claim:
    """What a row promises.

    Attributes:
        epochs: epochs to train.
        value: the claimed figure, 0..1.
        tolerance: largest shortfall of a correct run on another machine.
    """

    epochs: int
    value: float
    tolerance: float

    def holds(self, figure: float) -> bool:
        """Whether ``figure`` is as good as claimed; a better one is no fault."""
        return figure >= self.value - self.tolerance


def main(argv: Sequence[str] | None = None) -> int:
    """Train and compare one row, or list them all; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    rows: dict[str, Any] = json.loads(ROWS.read_text(encoding="utf-8"))
    parser.add_argument("name", nargs="?", choices=sorted(rows), help="row (default: list them)")
    parser.add_argument("--data-dir", help="folder of the data set")
    parser.add_argument("--fast", action="store_true", help="train fewer epochs, with a claim of their own")
    parser.add_argument("--keep", type=Path, help="folder for the run (default: deleted in the end)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in train.py")
    args = parser.parse_args(argv)
    if args.name is None:
        for name, row in rows.items():
            print(
                f"{name}: {row['config']}, seed {row['seed']}: {row['split']} {row['figure']} {row['value']}"
            )
        return 0
    with tempfile.TemporaryDirectory() as made:
        return compare(args.name, rows[args.name], args, args.keep or Path(made))


def compare(name: str, row: dict[str, Any], args: argparse.Namespace, folder: Path) -> int:
    """Train and evaluate a row in ``folder``; print its figure beside the claim and return the exit code."""
    claim = claim_of(row, fast=args.fast)
    start = time.perf_counter()
    try:
        metrics = evaluated(row, claim, args, folder)
    except subprocess.CalledProcessError as error:
        print(f"{name}: {' '.join(map(str, error.cmd))} ended with {error.returncode}", file=sys.stderr)
        return 1
    minutes = (time.perf_counter() - start) / 60
    figure = figure_of(metrics, row["figure"])
    verdict = "holds" if claim.holds(figure) else "DOES NOT HOLD"
    kind = " (fast)" if args.fast else ""
    print(
        f"{name}{kind}: {row['split']} {row['figure']} {figure:.4f}, claimed {claim.value} - {claim.tolerance}: "
        f"{verdict}; {claim.epochs} epochs, {minutes:.1f} min; sha256 {digest(metrics)}"
    )
    return 0 if claim.holds(figure) else 1


def claim_of(row: dict[str, Any], *, fast: bool) -> Claim:
    """Return the claim of a row, or that of its fast form."""
    part = row["fast"] if fast else row
    return Claim(part["epochs"], part["value"], part["tolerance"])


def figure_of(metrics: dict[str, Any], path: str) -> float:
    """Return the figure at a path of keys, such as ``"Class_Dice/car"``."""
    value: Any = metrics
    for key in path.split("/"):
        value = value[key]
    return float(value)


def digest(metrics: dict[str, Any]) -> str:
    """Return the sha256 of all figures; an equal run on an equal machine has the same."""
    return hashlib.sha256(json.dumps(metrics, sort_keys=True).encode()).hexdigest()


def evaluated(row: dict[str, Any], claim: Claim, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train in ``folder`` and return the metrics of the best weights."""
    settings = [
        f"trainer.epochs={claim.epochs}",
        f"trainer.save_dir={folder / 'saved'}",
        f"seed={row['seed']}",
    ]
    if args.data_dir:
        settings += [f"{part}.args.data_dir={args.data_dir}" for part in ("train_loader", "val_loader")]
    options = [word for setting in (*settings, *args.set) for word in ("--set", setting)]
    run_script("train.py", "--config", str(ROOT / row["config"]), *options)
    (run,) = sorted((folder / "saved").glob("*/*/"))[-1:]
    model = run / "best_model.pth"
    report = folder / "report"
    run_script("evaluate.py", "--model", str(model), "--split", row["split"], "--output", str(report))
    metrics: dict[str, Any] = json.loads((report / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    return metrics


def run_script(script: str, *arguments: str) -> None:
    """Run a program of the checkout.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    subprocess.run([sys.executable, str(ROOT / script), *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main())
