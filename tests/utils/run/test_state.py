"""Every entry of a checkpoint has its type and range; a wrong one is one line when the file is opened."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.checkpoints import make_checkpoint
from utils.errors import CheckpointError
from utils.run.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def state(tmp_path_factory) -> dict[str, Any]:
    """Entries of a right checkpoint, which tests leave as they are."""
    return load_checkpoint(make_checkpoint(tmp_path_factory.mktemp("state") / "a.pth"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("arch", "UNet"),
        ("arch", {"type": 3}),
        ("arch", {"type": "UNet", "args": [1]}),
        ("architecture_version", 0),
        ("architecture_version", "2"),
        ("model", None),
        ("model", {}),
        ("model", {"a": 1}),
        ("ema", {"a": "b"}),
        ("epoch", "1"),
        ("epoch", 0),
        ("epoch", True),
        ("step", -1),
        ("step", 1.5),
        ("global_step", 2**60),
        ("crop_size", "32"),
        ("crop_size", [32]),
        ("crop_size", 0),
        ("config", "x"),
        ("optimizer", {"state": {}}),
        ("monitor", {"best": "x", "best_epoch": 1, "not_improved": 0}),
        ("rng", None),
        ("rng", {"python": 1, "numpy": 2, "torch": 3, "cuda": 4}),
        ("dataset", {"classes": 3}),
    ],
)
def test_a_wrong_entry_is_one_line_that_names_it(state, tmp_path, entry, value):
    save_checkpoint(tmp_path / "b.pth", {**state, entry: value})
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "b.pth")
    assert f"{tmp_path / 'b.pth'}: " in str(caught.value) and entry in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("mean", ["x"] * 3),
        ("std", [0.0] * 3),
        ("palette", [[999, 0, 0]] * 4),
        ("classes", "abcd"),
        ("std", []),
    ],
)
def test_a_wrong_fact_of_the_data_set_is_one_line(state, tmp_path, fact, value):
    save_checkpoint(tmp_path / "b.pth", {**state, "dataset": {**state["dataset"], fact: value}})
    with pytest.raises(CheckpointError, match=r"b\.pth: holds no complete model: dataset: ") as caught:
        load_checkpoint(tmp_path / "b.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_step_beyond_the_epoch_is_refused(state, tmp_path):
    save_checkpoint(tmp_path / "b.pth", {**state, "step": 10**6, "iters_per_epoch": 3})
    with pytest.raises(CheckpointError, match="step: 1000000 of 3 batches"):
        load_checkpoint(tmp_path / "b.pth")


@pytest.mark.slow
def test_a_state_to_resume_from_lacks_nothing(state, tmp_path):
    generators = {"python": [3, [1], None], "numpy": ["MT19937", torch.zeros(1), 0, 0, 0.0]}
    rng = {**generators, "torch": torch.zeros(1), "cuda": []}
    save_checkpoint(tmp_path / "b.pth", {**state, "optimizer": {"state": {}, "param_groups": []}, "rng": rng})
    with pytest.raises(CheckpointError, match="is no complete state of a run: ema, step, "):
        load_checkpoint(tmp_path / "b.pth")
