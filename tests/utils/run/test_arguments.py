"""Options of train.py that exclude each other end in one line."""

from __future__ import annotations

import pytest

import train


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--check --estimate", "--check and --estimate: each runs instead of a training; give one of them"),
        ("--find-lr --plot-lr a.png", "--plot-lr and --find-lr: each runs instead of a training"),
        ("--plot-lr= --print-config", "--print-config and --plot-lr: each runs instead of a training"),
        (
            "--find-lr --resume auto",
            "--find-lr and --resume: the range test starts from the weights of a new run",
        ),
        ("--find-lr --allow-change", "--find-lr and --allow-change: the range test starts"),
        ("--output a.png", "--output: it names the picture of --find-lr; a run goes to trainer.save_dir"),
    ],
)
def test_options_that_exclude_each_other(argv, message, capsys):
    assert train.main(argv.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")
