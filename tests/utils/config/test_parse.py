"""All mistakes of a config in one report, and typed sections of a right one."""

from __future__ import annotations

import copy

import pytest

from tests.experiments import experiment_of, problems_of
from utils.config import factory
from utils.config.factory import Component
from utils.config.file import read_config

CONFIG = {
    "name": "run",
    "arch": {"type": "UNet", "args": {"base_channels": 4}},
    "train_loader": {"type": "Shapes", "args": {"split": "train", "batch_size": 4, "val_split": 0.2}},
    "optimizer": {"type": "SGD", "args": {"lr": 0.1}},
    "trainer": {"epochs": 2},
}


def config(**sections):
    return {**copy.deepcopy(CONFIG), **sections}


def test_sections_are_typed_and_defaults_filled_in():
    experiment = experiment_of(config())
    assert experiment.arch == Component("UNet", {"base_channels": 4})
    assert experiment.loss == Component("CrossEntropyLoss2d")
    assert experiment.optimizer.backbone_lr_factor == 0.1
    assert (experiment.trainer.save_period, experiment.val_loader) == (10, None)
    assert experiment.plain == CONFIG


def test_a_loss_may_be_its_name_alone():
    assert experiment_of(config(loss="DiceLoss")).loss == Component("DiceLoss")
    (problem,) = problems_of(config(loss=3))
    assert problem == "loss: expected a text or an object or null, got 3"


def test_mistakes_at_every_depth_come_together():
    wrong = config(
        nam="x",
        seed=-1,
        loss={"type": "Sum", "args": {"terms": [{"type": "DiceLos"}, {"type": "FocalLoss", "wieght": 2}]}},
        lr_scheduler={"type": "Poly", "warmup_epochs": 5},
    )
    wrong["arch"]["args"]["base_chanels"] = 4
    wrong["trainer"]["monitor"] = "max Mean_IuO"
    assert sorted(problem.split(": ")[0] for problem in problems_of(wrong)) == [
        "arch.args.base_chanels",
        "loss.args.terms[0].type",
        "loss.args.terms[1].wieght",
        "lr_scheduler.warmup_epochs",
        "nam",
        "seed",
        "trainer.monitor",
    ]


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"loss": {"type": "Sum", "args": {"terms": []}}}, "loss.args.terms: at least one is needed"),
        ({"loss": {"type": "Sum", "args": {"terms": [{"weight": 1}]}}}, "loss.args.terms[0].type: missing"),
        ({"ignore_index": 0}, "ignore_index: 0: each data set maps"),
        ({"use_synch_bn": True, "n_gpu": 2}, "use_synch_bn: needs one process per GPU"),
        ({"name": "../x"}, "name: '../x'"),
        ({"trainer": {"epochs": 3, "monitor": "best"}}, "trainer.monitor: expected"),
    ],
)
def test_single_mistakes(sections, words):
    (problem,) = problems_of(config(**sections))
    assert problem.startswith(words)


def test_a_cross_check_is_left_out_where_a_value_that_it_reads_is_wrong():
    wrong = config(lr_scheduler={"type": "Poly", "warmup_epochs": 5}, trainer={"epochs": "two"})
    (problem,) = problems_of(wrong)
    assert problem.startswith("trainer.epochs: expected")


def test_every_component_is_checked_once_and_duplicate_keys_join_the_report(tmp_path, monkeypatch):
    from train import build_trainer, check_experiment
    from utils.errors import ConfigError

    checked = []
    original = factory.check_arguments

    def counted(target, args, path, *rest, **options):
        checked.append(path)
        return original(target, args, path, *rest, **options)

    monkeypatch.setattr(factory, "check_arguments", counted)
    trainer = {"epochs": 1, "save_dir": str(tmp_path), "tensorboard": False}
    small = config(trainer=trainer, tune_allocator=False, lr_scheduler={"type": "Poly", "args": {}})
    build_trainer(experiment_of(small), "cpu").run.close()
    assert sorted(checked) == [
        "arch.args", "loss.args", "lr_scheduler.args", "optimizer.args", "train_loader.args",
    ]  # fmt: skip
    path = tmp_path / "twice.json"
    path.write_text('{"name": "a", "name": "b", "trainer": {"epochs": 0}}')
    with pytest.raises(ConfigError) as caught:
        check_experiment(read_config(path))
    problems = [problem.removeprefix(f"{path}: ").split(": ")[0] for problem in caught.value.problems]
    assert problems[0] == "name" and {"trainer.epochs", "arch", "optimizer"} <= set(problems)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("num_threads", 1_000_000, "at most 1024|between 1 and 1024"),
        ("seed", 2**63, "64 bits"),
        ("optimizer.args.lr", 1e39, "1e+39 cannot be computed with"),
        ("optimizer.args.weight_decay", 2**64, "64 bits"),
        ("train_loader.args.crop_size", 10**9, "32767"),
        ("train_loader.args.num_images", 10**9, "1000000"),
        ("train_loader.args.num_workers", 10**9, "1024"),
        ("trainer.save_dir", "a\0b", "NUL"),
        ("trainer.save_dir", "a\udcff", "UTF-8"),
        ("loss", {"type": "Sum", "args": {"terms": [{"type": "DiceLoss", "weight": 10**30}]}}, "64 bits"),
    ],
)
def test_a_number_or_text_that_cannot_be_used_is_named_with_its_path(path, value, words):
    wrong = config()
    node = wrong
    *parents, last = path.split(".")
    for key in parents:
        node = node[key]
    node[last] = value
    (problem,) = problems_of(wrong)
    assert problem.startswith(path) and any(word in problem for word in words.split("|"))


def test_the_largest_numbers_that_can_be_computed_with_are_accepted():
    assert problems_of(config(seed=2**63 - 1, num_threads=1024)) == []


def test_an_average_that_would_never_move_is_refused():
    config = copy.deepcopy(CONFIG)
    config["trainer"]["ema_decay"] = 1.0
    assert problems_of(config) == [
        "trainer.ema_decay: expected a number, between 0 and 0.999999 or null, got 1.0"
    ]
