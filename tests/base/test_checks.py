"""Checks of a data set's arguments that read no file."""

from __future__ import annotations

import pytest

from tests.experiments import problems_of

FOLDER = {
    "data_dir": "nowhere", "images": "i", "masks": "m", "classes": ["left", "right"], "split": "train",
    "val_fraction": 0.5,
}  # fmt: skip
SHAPES = {"split": "train"}


def mistakes(kind: str, args: dict, pairs: list) -> list[str]:
    loader = {"type": kind, "args": {"batch_size": 2, **args, "flip_pairs": pairs}}
    return problems_of(
        {
            "name": "x",
            "arch": {"type": "UNet", "args": {}},
            "train_loader": loader,
            "optimizer": {"type": "SGD", "args": {"lr": 0.1}},
            "trainer": {"epochs": 1, "val": False},
        }
    )


@pytest.mark.parametrize(
    ("kind", "args", "known", "shown"),
    [
        ("Shapes", SHAPES, ["star", "ring"], "choose from: background, circle, square"),
        ("Folder", FOLDER, ["left", "right"], "choose from: left, right"),
        ("Folder", {**FOLDER, "classes": ["car"]}, ["car", "background"], "choose from: background, car"),
    ],
)
def test_pairs_that_name_no_class_are_found_before_any_file_is_read(kind, args, known, shown):
    (problem,) = mistakes(kind, args, [[known[0], "up"]])
    assert problem.startswith("train_loader.args.flip_pairs: there is no class 'up'; ") and shown in problem
    assert mistakes(kind, args, [known]) == []
