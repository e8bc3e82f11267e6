"""Groups of options of a Folder data set, by hand-written tables."""

from __future__ import annotations

import numpy as np
import pytest

from dataloaders.folder_options import FolderLabels, FolderPixels, FolderSplits, problems_of
from utils.dataset_info import IMAGENET_MEAN, IMAGENET_STD

LABELS = {
    "classes": ["a", "b"], "values": None, "void": None, "colors": None, "color_masks": False,
    "void_colors": None,
}  # fmt: skip
SPLITS = {
    "split": "train", "images": "images", "masks": "masks", "list_file": None, "val_fraction": None,
    "folds": None, "fold": 0, "group": None,
}  # fmt: skip


@pytest.mark.parametrize(("options", "raw", "label"), [
    ({}, [0, 1], [0, 1]),
    ({"values": {"b": [3, 9], "a": 7}, "void": [5]}, [7, 9, 3, 5], [0, 1, 1, 255]),
    ({"classes": ["b"]}, [0, 1], [0, 1]),
    ({"classes": ["b"], "values": [8], "void": [1]}, [0, 8, 1], [0, 1, 255]),
])  # fmt: skip
def test_mask_values_become_class_indices(options, raw, label):
    labels = FolderLabels(**{**LABELS, **options})
    assert labels.problems() == {}
    assert labels.table().encode(np.array([raw], np.uint8), "mask").tolist() == [label]


def test_colours_become_class_indices_and_a_single_class_gets_black_before_it():
    options = {"classes": ["b"], "colors": {"b": [9, 8, 7]}, "color_masks": True, "void_colors": [[1, 1, 1]]}
    labels = FolderLabels(**{**LABELS, **options})
    assert labels.names == ("background", "b") and labels.colours == ((0, 0, 0), (9, 8, 7))
    mask = np.array([[[0, 0, 0], [9, 8, 7], [1, 1, 1]]], np.uint8)
    assert labels.table().encode(mask, "mask").tolist() == [[0, 1, 255]]


@pytest.mark.parametrize(("options", "names"), [
    ({}, ("train", "all", "test")), ({"val_fraction": 0.1}, ("train", "val", "all")),
    ({"folds": 3}, ("train", "val", "all")), ({"split": "2019", "masks": "m/{split}"}, ("2019",)),
])  # fmt: skip
def test_splits_follow_from_the_options(options, names):
    splits = FolderSplits(**{**SPLITS, **options})
    assert splits.names == names and splits.problems() == {}


@pytest.mark.parametrize(("pattern", "name", "group"), [
    (None, "s1_2", ""), (r"^s\d+", "s1_2", "s1"), (r"^s(\d+)_", "s1_2", "1"), ("x", "s1_2", ""),
])  # fmt: skip
def test_the_group_is_the_match_or_its_first_group(pattern, name, group):
    assert FolderSplits(**{**SPLITS, "group": pattern}).group_of(name) == group


def test_statistics_are_those_given_or_imagenets_for_three_channels():
    assert FolderPixels(3, None, None, None).statistics == (IMAGENET_MEAN, IMAGENET_STD)
    assert FolderPixels(2, None, None, [0.1, 0.2]).statistics == ((0.5, 0.5), (0.1, 0.2))


def test_problems_of_all_groups_carry_the_path():
    labels = FolderLabels(**{**LABELS, "values": [1], "colors": [[0, 0], [0, 0, 300]]})
    pixels = FolderPixels(1, (9, 3), [0.5, 0.5], None)
    assert problems_of([labels, pixels], "x") == [
        "x.colors: [0, 0] is no colour; write [red, green, blue] of 0 to 255",
        "x.values: 1 entries for 2 classes",
        "x.value_range: [9, 3] is no range; write [lowest, highest]",
        "x.mean: 2 numbers for 1 channels",
    ]
