from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.experiments import problems_of
from utils.errors import ConfigError
from utils.survey.probe import FolderFindings
from utils.survey.propose import class_shares, describe_proposal, make_config, propose_labels


def found(counts, count=20, **changes):
    pairs = [(Path(f"i/{n:02d}.jpg"), Path(f"m/{n:02d}_L.png")) for n in range(count)]
    options = {"sizes": [(96, 128)] * count, "mask_suffix": "_L", "image_suffix": "", "unpaired": []}
    return FolderFindings(
        images="i", masks="m", pairs=pairs, counts=Counter(counts), **{**options, **changes}
    )


@pytest.mark.parametrize(("counts", "labels"), [
    ({0: 5, 1: 5}, {"classes": ["background", "foreground"]}),
    ({0: 5, 255: 5}, {"classes": ["background", "foreground"], "values": [0, 255]}),
    ({0: 5, 1: 3, 255: 2}, {"classes": ["background", "foreground"], "void": [255]}),
    ({0: 5, 30: 3, 70: 2}, {"classes": ["class_0", "class_1", "class_2"], "values": [0, 30, 70]}),
    ({0: 5, 1: 3, 3: 2}, {"classes": ["class_0", "class_1", "class_2", "class_3"]}),  # 2 is rare, not unused
    ({7: 5}, {"classes": ["class_0"], "values": [7]}),
    ({(0, 0, 0): 1, (9, 0, 0): 2}, {
        "classes": ["background", "foreground"], "colors": [[0, 0, 0], [9, 0, 0]], "color_masks": True,
    }),
])  # fmt: skip
def test_the_values_found_become_classes(counts, labels):
    assert propose_labels(found(counts)) == labels


def test_given_names_are_taken_in_the_order_of_the_values():
    assert propose_labels(found({0: 1, 9: 1}), ["sky", "tree"])["classes"] == ["sky", "tree"]
    with pytest.raises(ConfigError, match=r"--classes: 3 names for the 2 values found: \[0, 9\]"):
        propose_labels(found({0: 1, 9: 1}), ["a", "b", "c"])


def test_shares_are_those_of_the_labelled_pixels():
    data = found({0: 60, 1: 20, 3: 20, 255: 100})
    assert class_shares(data, propose_labels(data)) == [0.6, 0.2, 0.0, 0.2]
    colours = found({(0, 0, 0): 1, (9, 0, 0): 3})
    assert class_shares(colours, propose_labels(colours)) == [0.25, 0.75]


@pytest.mark.parametrize("changes", [
    {}, {"channels": 1}, {"splits": ("train", "val"), "images": "{split}/i"}, {"sizes": [(40, 50), (60, 50)]},
])  # fmt: skip
def test_the_config_is_plain_and_has_no_mistake(changes):
    data = found({0: 80, 1: 15, 2: 5}, **{k: v for k, v in changes.items() if k != "images"})
    data.images = changes.get("images", data.images)
    config = make_config(data, Path("data/mine"), "mine")
    assert json.loads(json.dumps(config)) == config
    assert problems_of(config) == []
    train, val = config["train_loader"]["args"], config["val_loader"]["args"]
    assert ("val_fraction" in train) == (not data.splits) and train["split"] != val["split"]
    assert (
        val["batch_size"] == (1 if len(set(data.sizes)) > 1 else 4)
        and train.get("channels", 3) == data.channels
    )


def test_rare_classes_and_given_epochs_enter_the_config():
    config = make_config(found({0: 60, 1: 39, 2: 1}), Path("d"), "x", epochs=24)
    assert config["class_weights"] == "median" and config["name"] == "UNet_x"
    assert config["trainer"]["epochs"] == 24 and config["trainer"]["val_per_epochs"] == 2
    assert "class_weights" not in make_config(found({0: 99, 1: 1}), Path("d"), "x")


def test_the_description_names_pairs_values_and_what_is_missing():
    data = found(
        {0: 60, 1: 20, 2: 20, 255: 9}, unpaired=[Path("i/x.jpg")], unreadable=["m/7_L.png: the file is empty"]
    )
    text = describe_proposal(data, make_config(data, Path("d"), "x", epochs=3))
    for words in (
        "20 pairs: images in i, masks in m (names end in '_L')",
        "WARNING: 1 images have no mask, such as i/x.jpg", "WARNING: m/7_L.png: the file is empty",
        "mask value 0                -> class_0       60.00% of the labelled pixels",
        "mask value 255              -> void",
        "one fifth kept for validation", "Class names are made up",
    ):  # fmt: skip
        assert words in text, words


def test_groups_splits_and_weights_are_described():
    data = found({0: 60, 1: 39, 2: 1}, splits=("train", "val"))
    text = describe_proposal(data, make_config(data, Path("d"), "x", names=["a", "b", "c"]))
    assert "Splits: folders train and val. Classes are weighted." in text and "made up" not in text
    data = found({0: 60, 1: 40})
    data.pairs = [
        (Path(f"i/car{c}_{v}.jpg"), Path(f"m/car{c}_{v}_L.png")) for c in range(8) for v in range(3)
    ]
    assert "images whose names agree in ^(.+)" in describe_proposal(data, make_config(data, Path("d"), "x"))
