"""The log of a run: records, console lines, event files."""

from __future__ import annotations

import importlib.util
import json
import logging
import math

import numpy as np
import pytest

from tests.conftest import ROOT
from train import build_trainer, read_experiment
from utils.config.sections import TrainerSection
from utils.errors import ConfigError
from utils.run.folder import RunFolder
from utils.run.log import RunLog, require_tensorboard, without_nan

TRAIN = {"loss": 0.5, "Mean_IoU": 0.25, "Mean_F1": 0.4, "Mean_Dice": 0.4, "Class_IoU": {"a": 0.5, "b": None}}
VAL = {"loss": math.nan, "Mean_IoU": 0.75}


def make(folder, **options) -> RunLog:
    return RunLog(RunFolder.create(folder, "net"), TrainerSection(epochs=4, **options))


def report(log: RunLog, epoch: int = 1, val=VAL, improved: bool = True) -> None:
    log.epoch(epoch, 10 * epoch, TRAIN, val, lrs=[0.1], improved=improved, seconds=1.23456)


def scalars(folder) -> dict[str, list[tuple[int, float]]]:
    """Read the curves of a folder as TensorBoard does."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_an_epoch_is_one_json_line_with_null_for_nan(tmp_path):
    log = make(tmp_path, tensorboard=False)
    report(log)
    (line,) = log.run.metrics.read_text().splitlines()
    assert json.loads(line) == {
        "epoch": 1, "step": 10, "lr": [0.1], "seconds": 1.235, "improved": True,
        "train": TRAIN, "val": {"loss": None, "Mean_IoU": 0.75},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("val", "improved", "text"),
    [
        (
            VAL,
            True,
            "Epoch 2/4, train loss 0.5000 mIoU 0.2500, val loss nan mIoU 0.7500 (1.2 s), best so far",
        ),
        (None, False, "Epoch 2/4, train loss 0.5000 mIoU 0.2500 (1.2 s)"),
    ],
)
def test_an_epoch_is_one_line_on_the_console(tmp_path, caplog, val, improved, text):
    with caplog.at_level(logging.INFO):
        report(make(tmp_path, tensorboard=False), 2, val, improved)
    assert caplog.messages == [text]


def test_nan_becomes_none_and_everything_else_stays():
    assert without_nan({"a": math.nan, "b": 1, "c": {"x": None}}) == {"a": None, "b": 1, "c": {"x": None}}


def test_curves_have_numbers_only_where_there_are_some(tmp_path):
    log = make(tmp_path)
    log.open({"name": "net"}, 1, 0)
    log.step({"loss": 0.5, "Mean_IoU": math.nan}, [0.1, 0.01], 3)
    report(log)
    log.close()
    found = scalars(log.run.path)
    assert found["train_step/loss"] == [(3, 0.5)] and "train_step/Mean_IoU" not in found
    assert found["lr/group_1"] == [(3, pytest.approx(0.01))]
    assert found["train_Class_IoU/a"] == [(10, 0.5)] and "train_Class_IoU/b" not in found
    assert (
        found["train/Mean_Dice"] == [(10, pytest.approx(0.4))] and "train/Mean_F1" not in found
    )  # one curve
    assert found["val/Mean_IoU"] == [(10, 0.75)] and "val/loss" not in found


def test_a_log_folder_of_its_own_holds_name_and_time(tmp_path):
    log = make(tmp_path / "saved", log_dir=str(tmp_path / "events"))
    log.open({}, 1, 0)
    log.image("val/panel", np.zeros((4, 5, 3), np.uint8), 1)
    log.close()
    run = log.run.path
    assert scalars(tmp_path / "events" / "net" / run.name) == {}
    assert not list(run.glob("events*")) and list((tmp_path / "events" / "net" / run.name).glob("events*"))


def test_without_tensorboard_no_event_file_is_written(tmp_path):
    log = make(tmp_path, tensorboard=False)
    log.open({}, 1, 0)
    log.step({"loss": 1.0}, [0.1], 1)
    log.close()
    assert {path.name for path in log.run.path.iterdir()} == {".lock", ".lock-holder"}


def test_a_resumed_log_drops_what_comes_after_the_checkpoint(tmp_path):
    log = make(tmp_path)
    log.open({}, 1, 0)
    for epoch in (1, 2):
        report(log, epoch)
    log.close()
    log.open({}, 2, 10)  # epoch 2 runs again, from optimizer step 10 on
    report(log, 2)
    log.close()
    assert [json.loads(line)["epoch"] for line in log.run.metrics.read_text().splitlines()] == [1, 2]
    assert [step for step, _ in scalars(log.run.path)["train/loss"]] == [10, 20]


def test_event_files_without_their_package_are_refused_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"trainer\.tensorboard: .*pip install tensorboard"):
        require_tensorboard(TrainerSection(epochs=1))
    require_tensorboard(TrainerSection(epochs=1, tensorboard=False))
    experiment = read_experiment(ROOT / "config.json", [f"trainer.save_dir={tmp_path / 'saved'}"])
    with pytest.raises(ConfigError, match="tensorboard"):
        build_trainer(experiment, "cpu")
    assert not (tmp_path / "saved").exists()
