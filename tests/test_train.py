"""The entry script as a user meets it: one line and an exit code for every mistake, resume, signals."""

from __future__ import annotations

import functools
import importlib.util
import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

import train
from tests.conftest import ROOT
from utils.run.checkpoint import load_checkpoint
from utils.training.find_lr import find_lr
from utils.training.fit_batch import CpuProbe

CONFIG = {
    "name": "tiny",
    "n_gpu": 0,
    "arch": {"type": "UNet", "args": {"base_channels": 4}},
    "train_loader": {
        "type": "Shapes",
        "args": {
            "split": "train", "num_images": 12, "image_size": 32, "batch_size": 4,
            "shuffle": True, "augment": True, "flip": True,
        },
    },
    "val_loader": {
        "type": "Shapes",
        "args": {"split": "val", "num_images": 4, "image_size": 32, "batch_size": 4, "val": True},
    },
    "optimizer": {"type": "SGD", "args": {"lr": 0.05, "momentum": 0.9}},
    "loss": "CrossEntropyLoss2d",
    "lr_scheduler": {"type": "Poly", "args": {}},
    "trainer": {"epochs": 2, "tensorboard": False, "save_period": 0},
}  # fmt: skip


@pytest.fixture
def config(tmp_path):
    """Path of a small config that saves below tmp_path."""
    content = json.loads(json.dumps(CONFIG))
    content["trainer"]["save_dir"] = str(tmp_path / "saved")
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(autouse=True)
def quiet_logging():
    """Entry scripts set up the root logger; give it back as it was."""
    import logging

    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in before[0]:
            handler.close()
    root.handlers[:], root.level = before[0], before[1]


def run_dir(tmp_path: Path, name: str = "tiny") -> Path:
    (found,) = (tmp_path / "saved" / name).iterdir()
    return found


def fails(capsys, *argv: str) -> tuple[int, str]:
    code = train.main([*argv, "--device", "cpu"])
    return code, capsys.readouterr().err


@pytest.fixture
def start(forks):
    """Start of train.py in a process of its own, by its arguments."""
    return functools.partial(forks.start, "import sys, train; sys.exit(train.main())")


@pytest.mark.slow
def test_trains_and_leaves_a_complete_run_folder(config, tmp_path):
    assert train.main(["-c", str(config), "--set", "trainer.tensorboard=true"]) == 0
    folder = run_dir(tmp_path)
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "log.txt", "metrics.jsonl", "last.pth", "previous.pth", "best_model.pth"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    saved = json.loads((folder / "config.json").read_text())
    assert saved["trainer"]["tensorboard"] is True
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [r["epoch"] for r in records] == [1, 2]
    assert "Epoch 2/2" in (folder / "log.txt").read_text()
    assert load_checkpoint(folder / "best_model.pth")["arch"]["type"] == "UNet"


@pytest.mark.slow
def test_check_leaves_nothing_behind(config, tmp_path, start):
    process = start("-c", config, "--check")
    output = process.communicate()
    assert process.returncode == 0, output
    assert output.count("ok: ") == 4
    assert not any((tmp_path / "saved").rglob("*.pth"))


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "options"), [(0, {}), (2, {
    "mix": ["mosaic", "cutmix", "class_paste"], "sampler": "rare_classes", "sampler_threshold": 1, "erase": 0.5,
    "gamma": True, "color_p": 0.5, "label_elastic": 2, "repeat": 2,
})])  # fmt: skip
def test_stopped_by_a_signal_and_resumed_is_equal_to_the_bit(
    config, tmp_path, monkeypatch, start, workers, options
):
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path / "cache"))
    setting = ["--set", f"train_loader.args.num_workers={workers}", "--set", "trainer.epochs=3"]
    for name, value in options.items():
        setting += ["--set", f"train_loader.args.{name}={json.dumps(value)}"]
    assert train.main(["-c", str(config), "--set", "name=whole", *setting]) == 0
    whole = run_dir(tmp_path, "whole")
    process = start("-c", config, *setting, "--set", "trainer.log_per_iter=1")
    while "Epoch 1/3" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    output = process.communicate()
    assert process.returncode == 143, output
    assert "--resume" in output
    assert train.main(["--resume", str(run_dir(tmp_path))]) == 0
    one, two = (load_checkpoint(folder / "last.pth") for folder in (whole, run_dir(tmp_path)))
    assert all(torch.equal(one["model"][key], two["model"][key]) for key in one["model"])


@pytest.mark.slow
def test_killed_and_resumed_is_equal_to_the_bit(config, tmp_path, start):
    setting = ["--set", "trainer.epochs=3"]
    assert train.main(["-c", str(config), "--set", "name=whole", *setting]) == 0
    whole = run_dir(tmp_path, "whole")
    process = start("-c", config, *setting)
    while not list((tmp_path / "saved").glob("tiny/*/last.pth")):
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert train.main(["-c", str(config), *setting, "--resume", "auto"]) == 0
    one, two = (load_checkpoint(folder / "last.pth") for folder in (whole, run_dir(tmp_path)))
    assert all(torch.equal(one["model"][key], two["model"][key]) for key in one["model"])


@pytest.mark.slow
def test_a_resumed_run_keeps_the_architecture_version_that_it_was_started_with(config, tmp_path, monkeypatch):
    from models import UNet

    assert train.main(["-c", str(config), "--set", "trainer.epochs=1"]) == 0
    last = run_dir(tmp_path) / "last.pth"
    assert load_checkpoint(last)["architecture_version"] == 1
    asked = []
    monkeypatch.setattr(UNet, "architecture_version", 2)
    monkeypatch.setattr(UNet, "arguments_of_version", lambda *given: asked.append(given) or given[1])
    assert train.main(["--resume", str(last.parent), "--extend", "2"]) == 0
    assert asked == [(1, {"base_channels": 4})]
    state = load_checkpoint(last)
    assert state["epoch"] == 3 and state["architecture_version"] == 1


@pytest.mark.slow
def test_resume_auto_without_a_run_starts_one(config, tmp_path, caplog):
    assert train.main(["-c", str(config), "--resume", "auto", "--set", "trainer.epochs=1"]) == 0
    assert (run_dir(tmp_path) / "last.pth").exists()


@pytest.mark.slow
def test_resuming_a_finished_run_changes_nothing(config, tmp_path):
    assert train.main(["-c", str(config)]) == 0
    before = (run_dir(tmp_path) / "last.pth").read_bytes()
    assert train.main(["--resume", str(run_dir(tmp_path))]) == 0
    assert (run_dir(tmp_path) / "last.pth").read_bytes() == before


@pytest.mark.slow
def test_resume_refuses_another_experiment(config, tmp_path, capsys):
    assert train.main(["-c", str(config)]) == 0
    folder = str(run_dir(tmp_path))
    code, error = fails(capsys, "-c", str(config), "--resume", folder, "--set", "optimizer.args.lr=0.1")
    assert code == 2
    assert "optimizer.args.lr: the run was started with 0.05, now it says 0.1" in error
    code, error = fails(capsys, "--resume", folder, "--set", "arch.args.base_channels=8", "--allow-change")
    assert code == 2
    assert "does not fit this config" in error
    code, error = fails(capsys, "--resume", folder, "--set", "trainer.epochs=14")
    assert code == 2 and "give --extend 14 instead; or leave --set out" in error and "--config" not in error
    harmless = ["--set", "trainer.log_per_iter=1", "--set", "train_loader.args.num_workers=0"]
    assert train.main(["-c", str(config), "--resume", folder, *harmless]) == 0
    more = ["--set", "trainer.epochs=3", "--allow-change"]
    assert train.main(["-c", str(config), "--resume", folder, *more]) == 0
    assert load_checkpoint(Path(folder) / "last.pth")["epoch"] == 4


@pytest.mark.slow
def test_a_finished_run_is_extended_at_a_rate_above_zero(config, tmp_path, capsys):
    assert train.main(["-c", str(config)]) == 0
    folder = run_dir(tmp_path)
    assert train.main(["--resume", str(folder), "--extend", "4", "--device", "cpu"]) == 0
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3, 4]
    assert records[2]["lr"][0] == pytest.approx(0.05 * 0.25**0.9)
    with pytest.raises(SystemExit):
        train.main(["-c", str(config), "--extend", "4"])
    assert "--extend lengthens a run; name it with --resume" in capsys.readouterr().err
    assert train.main(["--resume", str(folder), "--extend", "3"]) == 2
    assert "trainer.epochs: 3 is too few: the run has reached epoch 4" in capsys.readouterr().err


@pytest.mark.slow
def test_an_allowed_learning_rate_is_the_one_trained_with(config, tmp_path):
    assert train.main(["-c", str(config), "--set", "lr_scheduler=null"]) == 0
    folder = run_dir(tmp_path)
    change = ["--set", "optimizer.args.lr=0.001", "--set", "trainer.epochs=3", "--allow-change"]
    assert train.main(["--resume", str(folder), *change]) == 0
    record = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert (record["epoch"], record["lr"]) == (3, [0.001])


@pytest.mark.slow
def test_an_old_checkpoint_continues_in_a_new_folder(config, tmp_path, capsys):
    settings = ["--set", "trainer.epochs=4", "--set", "trainer.save_period=1"]
    assert train.main(["-c", str(config), *settings]) == 0
    old = run_dir(tmp_path)
    before = {
        path.name: path.read_bytes() for path in old.glob("*[!t]")
    }  # this process still logs to log.txt
    capsys.readouterr()
    assert train.main(["--resume", str(old / "checkpoint-epoch2.pth")]) == 0
    printed = "".join(capsys.readouterr())
    assert {path.name: path.read_bytes() for path in old.glob("*[!t]")} == before
    assert (
        printed.count("older than the newest state of its run (epoch 4): continuing in a new run folder") == 1
    )
    (new,) = set((tmp_path / "saved" / "tiny").iterdir()) - {old}
    log = (new / "log.txt").read_text()
    assert log.count("older than the newest state of its run (epoch 4)") == 1 and "Resuming from " in log
    one, two = (load_checkpoint(folder / "last.pth") for folder in (old, new))
    assert all(torch.equal(one["model"][key], two["model"][key]) for key in one["model"])
    records = [json.loads(line) for line in (new / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3, 4]
    best = load_checkpoint(new / "best_model.pth")["epoch"]
    assert best == two["monitor"]["best_epoch"] + 1
    assert (
        train.main(["--resume", str(old / "checkpoint-epoch4.pth")]) == 0
    )  # the newest state: the same folder
    assert len(list((tmp_path / "saved" / "tiny").iterdir())) == 2


@pytest.mark.slow
def test_resume_from_damage(config, tmp_path, capsys):
    assert train.main(["-c", str(config)]) == 0
    folder = run_dir(tmp_path)
    (folder / "last.pth").write_bytes((folder / "last.pth").read_bytes()[:-100])
    assert train.main(["--resume", str(folder)]) == 0  # previous.pth, one epoch earlier
    for name in ("last.pth", "previous.pth"):
        (folder / name).write_bytes(b"damaged")
    code, error = fails(capsys, "--resume", str(folder))
    assert code == 2
    assert "damaged" in error
    code, error = fails(capsys, "--resume", str(tmp_path / "nowhere"))
    assert code == 2
    assert "there is no such file or folder" in error


MISTAKES = {
    "train_loader.args.crop_sise=3": "train_loader.args.crop_sise: Shapes has no such argument",
    "arch.type=UNett": "arch.type: no model called 'UNett'; did you mean 'UNet'?",
    "trainer.epochs=0": "trainer.epochs: expected a whole number, at least 1, got 0",
    "trainer.monitor=max mIoU": "trainer.monitor: nothing called 'mIoU' is logged",
    "optimizer.args.lr=-1": "optimizer.args: SGD: Invalid learning rate",
    "name=../../etc": "name: '../../etc'",
    "ignore_index=7": "ignore_index: 7",
    "class_weights=[1, 2]": "class_weights: 2 numbers for",
    "train_loader.args.batch_size=13": "13",
    "precision=fp16": "precision: fp16 is for GPUs",
    "lr_scheduler.args.power=0": "lr_scheduler.args.power",
    "val_loader=null": "val_loader: missing",
    "use_synch_bn=true": "use_synch_bn",
    "loss=tests.parts.Unweighted": "class_weights: tests.parts.Unweighted takes none",
}


@pytest.mark.slow
@pytest.mark.parametrize("setting", MISTAKES)
def test_mistakes_are_one_line_with_their_path(config, capsys, tmp_path, setting):
    extra = ["--set", "n_gpu=2"] if "synch" in setting else []
    if "Unweighted" in setting:
        extra = ["--set", "class_weights=[1, 1, 1, 1, 1, 1, 1]"]
    code, error = fails(capsys, "-c", str(config), "--set", setting, *extra)
    assert code == 2
    (line,) = [text for text in error.splitlines() if text.startswith("error: ")]
    assert MISTAKES[setting] in line
    assert "Traceback" not in error
    assert not list((tmp_path / "saved").glob("*/*/*"))


def test_all_mistakes_together(config, capsys):
    settings = ["trainer.epochz=3", "arch.type=Unet", "optimizer.args.lr=fast", "loss=CE"]
    code, error = fails(capsys, "-c", str(config), *(part for s in settings for part in ("--set", s)))
    assert code == 2
    for path in ("trainer.epochz", "arch.type", "optimizer.args.lr", "loss.type"):
        assert f"tiny.json: {path}: " in error


def test_debug_shows_the_traceback(config):
    from utils.errors import ConfigError

    with pytest.raises(ConfigError):
        train.main(["-c", str(config), "--set", "name=a/b", "--debug"])


def test_save_dir_that_cannot_be_written(config, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    code, error = fails(capsys, "-c", str(config), "--set", f"trainer.save_dir={tmp_path / 'file'}")
    assert code == 4
    assert "cannot be written" in error


def test_two_runs_in_the_same_second_do_not_share_a_folder(config, tmp_path):
    from utils.run.folder import RunFolder

    runs = [RunFolder.create(tmp_path / "saved", "tiny") for _ in range(8)]
    assert len({run.path for run in runs}) == 8


@pytest.mark.slow
def test_a_run_in_use_is_not_resumed_by_another_process(config, tmp_path, start):
    from utils.run.folder import RunFolder

    assert train.main(["-c", str(config), "--set", "trainer.epochs=1"]) == 0
    run = RunFolder(run_dir(tmp_path))
    process = start("--resume", run_dir(tmp_path))
    output = process.communicate()
    run.close()
    assert process.returncode == 4
    assert "another process is training in this folder" in output


@pytest.mark.slow
@pytest.mark.parametrize("argv", [["--help"], ["-c", "broken.json"], ["-c", "missing.json"]])
def test_help_and_broken_files_answer_without_torch(tmp_path, argv):
    (tmp_path / "broken.json").write_text('{"name": ')
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import train\n"
        "try: result = train.main()\n"
        "except SystemExit as stop: result = stop.code\n"
        "heavy = {'torch', 'numpy', 'cv2', 'PIL', 'torchvision'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.exit(result)\n"
    )
    command = [sys.executable, "-c", code, str(ROOT), *argv]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == (0 if argv == ["--help"] else 2), done.stderr


def test_the_file_is_a_program_that_ends_with_an_exit_code():
    command = [sys.executable, str(ROOT / "train.py"), "-c", "missing.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "missing.json" in done.stderr


@pytest.mark.slow
def test_config_errors_import_nothing_that_they_do_not_need(config):
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import train\n"
        "result = train.main()\n"
        "heavy = {'torchvision', 'tensorboard', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.exit(result)\n"
    )
    command = [sys.executable, "-c", code, str(ROOT), "-c", str(config), "--set", "arch.type=None"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_error(config, start):
    process = start("-c", config, "--set", "trainer.epochs=1")
    process.stdout.readline()
    process.stdout.close()
    process.wait()
    assert process.returncode == 0


@pytest.mark.slow
def test_older_form_with_smp_is_translated(config, caplog):
    """Without the optional package that is one line; with it, the run goes on."""
    content = json.loads(config.read_text())
    del content["arch"]
    content |= {
        "smp": True,
        "smp_args": {"type": "Unet", "backbone": "resnet18", "batch_size": 4, "epochs": 1},
    }
    config.write_text(json.dumps(content))
    code = train.main(["-c", str(config), "--set", "train_loader.args.crop_size=32"])
    assert code == (0 if importlib.util.find_spec("segmentation_models_pytorch") else 2)


@pytest.mark.slow
@pytest.mark.parametrize("foreign", [False, True])
def test_init_from_a_checkpoint_of_ours_or_of_another_program(config, tmp_path, foreign):
    assert train.main(["-c", str(config), "--set", "name=first", "--set", "trainer.epochs=1"]) == 0
    first = run_dir(tmp_path, "first")
    path, weights = first / "best_model.pth", load_checkpoint(first / "best_model.pth")["model"]
    if foreign:
        path = tmp_path / "foreign.pth"
        torch.save({"state_dict": {f"module.{k}": v for k, v in weights.items()}}, path)
    settings = ["--set", f"init_from={path}", "--set", "optimizer.args.lr=1e-30", "--set", "trainer.epochs=1"]
    assert train.main(["-c", str(config), *settings]) == 0
    now = load_checkpoint(run_dir(tmp_path) / "last.pth")["model"]
    assert torch.allclose(now["outc.weight"], weights["outc.weight"])


def test_own_model_and_own_data_set_by_dotted_path(config, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\nfrom base import BaseModel\n"
        "class Line(BaseModel):\n"
        "    def __init__(self, num_classes, in_channels=3, width: int = 4):\n"
        "        super().__init__(num_classes, in_channels)\n"
        "        self.layer = nn.Conv2d(in_channels, num_classes, 1)\n"
        "    def _forward(self, images):\n        return self.layer(images)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    settings = ["--set", 'arch={"type": "mine.Line", "args": {"width": 2}}', "--set", "trainer.epochs=1"]
    assert train.main(["-c", str(config), *settings]) == 0


AUTO = ["--set", "train_loader.args.batch_size=auto", "--set", "trainer.effective_batch=8"]


@pytest.mark.slow
def test_a_chosen_batch_is_recorded_equals_the_same_number_and_is_not_chosen_again(
    config, tmp_path, monkeypatch
):
    """4 images fit; the run is that of a config with this number, and a resumed one does not look again."""
    monkeypatch.setattr(
        CpuProbe, "budget", property(lambda self: 450, lambda self, value: None), raising=False
    )
    monkeypatch.setattr(CpuProbe, "peak", lambda self, batch: self.take(1) or 100 * batch)
    arguments = ["-c", str(config), *AUTO, "--device", "cpu", "--set"]
    assert train.main([*arguments, "trainer.epochs=1"]) == 0
    folder = run_dir(tmp_path)
    assert (folder / "log.txt").read_text().count(
        "batch_size auto: 4 images, trainer.accumulate_steps 2"
    ) == 1
    saved = json.loads((folder / "config.json").read_text())
    assert saved["train_loader"]["args"]["batch_size"] == 4 and saved["trainer"]["accumulate_steps"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["saved", "tiny.json"]
    monkeypatch.setattr(CpuProbe, "__init__", None)
    assert train.main([*arguments, "trainer.epochs=2", "--resume", "auto", "--allow-change"]) == 0
    numbers = ["--set", "trainer.accumulate_steps=2", "--set", "name=numbers", "--set", "trainer.epochs=1"]
    assert train.main(["-c", str(config), *numbers]) == 0
    one, two = (
        load_checkpoint(path)["model"]
        for path in (folder / "previous.pth", run_dir(tmp_path, "numbers") / "last.pth")
    )
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_batch_of_one_that_does_not_fit_is_one_line(config, tmp_path, capsys, monkeypatch):
    def fail(self, batch):
        raise MemoryError

    monkeypatch.setattr(CpuProbe, "take", fail)
    code, error = fails(capsys, "-c", str(config), *AUTO)
    (line,) = (line for line in error.splitlines() if line.startswith("error: "))
    assert code == 2 and "'auto' finds none: training on 1 image does not fit into the" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.json"]


@pytest.mark.slow
def test_the_range_test_and_the_estimate_keep_nothing_but_the_picture(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("utils.report.range_test.find_lr", partial(find_lr, steps=12))
    monkeypatch.setattr("utils.training.estimate._SECONDS", 0.0)
    arguments = ["-c", str(config), "--device", "cpu"]
    assert train.main([*arguments, "--estimate"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.json"]
    words = capsys.readouterr().err
    assert "Time: about" in words and "for 2 epochs: 6 steps of" in words
    assert "Memory: " in words and "Disk: at most 3 checkpoints" in words
    assert train.main([*arguments, "--find-lr", "--output", str(tmp_path)]) == 0
    assert "uggest" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["find_lr.png", "tiny.json"]
    assert train.main([*arguments, "--set", "trainer.epochs=1"]) == 0
    kept = sorted(tmp_path.rglob("*"))
    resumed = ["--resume", str(run_dir(tmp_path)), "--extend", "3", "--estimate", "--device", "cpu"]
    assert train.main(resumed) == 0
    assert "for 2 epochs: 6 steps of" in capsys.readouterr().err and kept == sorted(tmp_path.rglob("*"))


def test_an_empty_name_of_a_plot_does_not_start_a_run(config, capsys, tmp_path):
    code, error = fails(capsys, "-c", str(config), "--plot-lr", "")
    assert code == 4 and "cannot be written" in error and not (tmp_path / "saved").exists()


@pytest.mark.slow
def test_the_learning_rates_of_a_run_are_drawn_without_training(config, tmp_path):
    from PIL import Image

    assert train.main(["-c", str(config), "--plot-lr", str(tmp_path / "rates.png"), "-d", "cpu"]) == 0
    with Image.open(tmp_path / "rates.png") as image:
        assert image.size == (900, 420)
    assert not (tmp_path / "saved").exists()
