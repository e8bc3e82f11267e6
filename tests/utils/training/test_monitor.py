"""Which validation is best, and when to stop."""

from __future__ import annotations

import pytest

from utils.errors import ConfigError
from utils.training.monitor import Monitor, figure_names

NAMES = ["train_loss", "train_Mean_IoU", "val_loss", "val_Mean_IoU"]
NAN = float("nan")


def improvements(values: list[float], setting: str = "max Mean_IoU", early_stop: int = 0) -> list[bool]:
    monitor = Monitor(setting, NAMES, early_stop)
    seen = []
    for epoch, value in enumerate(values, 1):
        seen.append(monitor.update(dict.fromkeys(NAMES, value), epoch))
        if monitor.exhausted:
            break
    return seen


@pytest.mark.parametrize(
    ("values", "setting", "expected"),
    [
        ([0.1, 0.2, 0.2, 0.15, 0.3], "max Mean_IoU", [True, True, False, False, True]),
        ([0.3, 0.2, 0.2, 0.25, 0.1], "min loss", [True, True, False, False, True]),
        ([NAN, 0.1, NAN, 0.2], "max Mean_IoU", [False, True, False, True]),
        ([0.76051, 0.76149], "max Mean_IoU", [True, True]),
        ([-1.0, -0.5], "max val_loss", [True, True]),
        ([1.0, 2.0], "off", [False, False]),
    ],
)
def test_strictly_better_at_full_precision(values, setting, expected):
    assert improvements(values, setting) == expected


@pytest.mark.parametrize(("early_stop", "length"), [(0, 6), (None, 6), (1, 2), (3, 4)])
def test_early_stop_counts_validations(early_stop, length):
    assert len(improvements([0.5, 0.4, 0.4, 0.4, 0.4, 0.4], early_stop=early_stop)) == length


def test_a_bare_name_means_validation_if_there_is_one():
    assert Monitor("max Mean_IoU", NAMES).name == "val_Mean_IoU"
    assert Monitor("max Mean_IoU", NAMES[:2]).name == "train_Mean_IoU"
    assert Monitor("min train_loss", NAMES).name == "train_loss"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("max mIoU", "nothing called 'mIoU' is logged; did you mean 'Mean_IoU'?"),
        ("best Mean_IoU", "expected 'max NAME'"),
        ("max", "expected 'max NAME'"),
        ("", "expected 'max NAME'"),
    ],
)
def test_mistakes_are_found_at_the_start(setting, words):
    with pytest.raises(ConfigError, match="trainer.monitor: ") as caught:
        Monitor(setting, NAMES)
    assert words in str(caught.value)


def test_state_survives():
    first = Monitor("max Mean_IoU", NAMES, 2)
    first.update({"val_Mean_IoU": 0.5}, 1)
    first.update({"val_Mean_IoU": 0.4}, 2)
    second = Monitor("max Mean_IoU", NAMES, 2)
    second.load_state_dict(first.state_dict())
    assert (second.best, second.best_epoch, second.not_improved) == (0.5, 1, 1)
    assert not second.update({"val_Mean_IoU": 0.45}, 3)
    assert second.exhausted


@pytest.mark.parametrize(("setting", "improves"), [
    ("max val_IoU/traffic light", [True, False, True]), ("max Dice/car", [False, True, False]),
    ("min train_Accuracy/car", [True, False, False]),
])  # fmt: skip
def test_a_figure_of_one_class_is_monitored(setting, improves):
    monitor = Monitor(setting, figure_names(validates=True, classes=("car", "traffic light")))
    epochs = [
        {"val_Class_IoU": {"traffic light": light}, "val_Class_F1": {"car": car},
         "train_Class_Accuracy": {"car": 0.1}}
        for light, car in ((0.2, None), (0.1, 0.4), (0.3, 0.4))
    ]  # fmt: skip
    assert [monitor.update(figures, epoch) for epoch, figures in enumerate(epochs, 1)] == improves


def test_a_class_that_the_data_lacks_is_refused_with_a_suggestion():
    names = figure_names(validates=True, classes=("car", "road"))
    with pytest.raises(ConfigError, match="nothing called 'IoU/cat' is logged; did you mean 'IoU/car'?"):
        Monitor("max IoU/cat", names)
