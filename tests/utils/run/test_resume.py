"""The run that --resume names, and the experiment that it may continue."""

from __future__ import annotations

import copy
import os
from typing import Any

import pytest
import torch

from tests.experiments import experiment_of
from tests.parts import make_trainer
from tests.utils.config.test_changes import CONFIG
from utils.errors import CheckpointError, ConfigError
from utils.run.checkpoint import save_checkpoint
from utils.run.find import find_checkpoint
from utils.run.resume import find_run, load_resumed, refuse_changes


@pytest.fixture(scope="module", autouse=True)
def state(tmp_path_factory):
    """The state of a run that has not begun."""
    trainer = make_trainer(tmp_path_factory.mktemp("state") / "run")
    STATE.update(trainer.state_dict())
    trainer.run.close()


STATE: dict[str, Any] = {}


def run(parent, name, age, files=("last.pth",)):
    folder = parent / "run" / name
    folder.mkdir(parents=True)
    for file in files:
        save_checkpoint(folder / file, {**STATE, "epoch": age})
        os.utime(folder / file, (1_000_000 - age, 1_000_000 - age))
    return folder


def test_auto_is_the_run_of_this_name_that_was_saved_last(tmp_path):
    config = copy.deepcopy(CONFIG)
    config["trainer"]["save_dir"] = str(tmp_path)
    assert find_run("auto", experiment_of(config)) is None
    run(tmp_path, "new_folder_old_state", age=50)
    newest = run(tmp_path, "old_folder_new_state", age=3)
    assert find_run("auto", experiment_of(config)) == newest


def test_a_folder_and_a_checkpoint_name_their_run(tmp_path):
    folder = run(tmp_path, "one", age=1)
    assert find_run(str(folder), None) == find_run(str(folder / "last.pth"), None) == folder
    with pytest.raises(CheckpointError, match="--resume nowhere: there is no such file or folder"):
        find_run("nowhere", None)


def test_a_damaged_newest_state_falls_back_to_the_one_before(tmp_path):
    folder = run(tmp_path, "one", age=1, files=("last.pth", "previous.pth"))
    (folder / "last.pth").write_bytes(b"cut")
    assert load_resumed(str(folder), folder)["epoch"] == 1


def test_where_the_newest_states_are_damaged_the_whole_ones_are_named(tmp_path):
    files = ("last.pth", "previous.pth", "best_model.pth", "checkpoint-epoch2.pth", "checkpoint-epoch1.pth")
    folder = run(tmp_path, "one", age=1, files=files)
    os.utime(folder / "best_model.pth", (5, 5))
    for name in ("last.pth", "previous.pth", "checkpoint-epoch1.pth"):
        (folder / name).write_bytes(b"cut")
    with pytest.raises(CheckpointError) as caught:
        load_resumed(str(folder), folder)
    newest = folder / "checkpoint-epoch2.pth"
    assert str(caught.value).endswith(
        f"; whole: checkpoint-epoch2.pth, best_model.pth; to continue: --resume {newest}"
    )


def test_a_file_that_holds_a_model_only_cannot_be_continued(tmp_path):
    path = tmp_path / "model.pth"
    save_checkpoint(path, {"model": {"weight": torch.zeros(1)}})
    with pytest.raises(CheckpointError, match="holds a model only"):
        load_resumed(str(path), tmp_path)


def test_refused_changes_are_named_with_both_values():
    changed = copy.deepcopy(CONFIG)
    changed["optimizer"]["args"]["lr"] = 0.5
    changed["trainer"]["save_minutes"] = 1
    with pytest.raises(ConfigError) as caught:
        refuse_changes({"config": CONFIG, "epoch": 2, "step": 0}, experiment_of(changed))
    assert caught.value.problems[0] == "optimizer.args.lr: the run was started with 0.1, now it says 0.5"
    assert "--allow-change" in caught.value.problems[-1] and len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("key", "given", "hint"),
    [
        (
            "trainer.epochs",
            ["--set"],
            "to train to epoch 14, give --extend 14 instead; or leave --set out to",
        ),
        (
            "trainer.epochs",
            ["--config"],
            "to train to epoch 14, give --extend 14 instead; or leave --config out to continue",
        ),
        ("seed", ["--set"], "leave --set out to continue with the run's own config, or add --allow-change"),
        ("seed", ["--config", "--set"], "leave --config and --set out to continue with the run's own config"),
        ("seed", [], "give --resume the run's folder to continue with its own config, or add --allow-change"),
    ],
)
def test_the_hint_names_the_options_that_were_given(key, given, hint):
    changed = copy.deepcopy(CONFIG)
    (changed["trainer"] if key == "trainer.epochs" else changed)[key.rpartition(".")[2]] = 14
    with pytest.raises(ConfigError) as caught:
        refuse_changes({"config": CONFIG, "epoch": 2, "step": 0}, experiment_of(changed), given=given)
    assert caught.value.problems[-1].startswith(hint)


def test_a_folder_means_its_newest_best_model(tmp_path):
    old, new = (run(tmp_path, name, age, ("best_model.pth",)) for name, age in (("a", 9), ("b", 2)))
    assert find_checkpoint(tmp_path / "run") == new / "best_model.pth"
    assert find_checkpoint(old) == old / "best_model.pth"
    assert find_checkpoint(tmp_path / "some.pth") == tmp_path / "some.pth"
    with pytest.raises(CheckpointError, match="there is no best_model.pth"):
        find_checkpoint(tmp_path)
