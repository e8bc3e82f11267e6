"""Opening the data of a config: for training, for examination, for evaluation, to look at."""

from __future__ import annotations

import pytest

from dataloaders.build import DataSections, build_loaders, evaluation_dataset, examined_datasets, shown_loader
from tests.experiments import experiment_of
from utils.errors import ConfigError

SHAPES = {"split": "train", "batch_size": 4, "num_images": 12, "image_size": 32}
TRAIN = {"type": "Shapes", "args": {**SHAPES, "crop_size": 16, "base_size": 24}}
VAL = {"type": "Shapes", "args": {**SHAPES, "split": "val", "val": True}}
SPLIT = {"type": "Shapes", "args": {**SHAPES, "val_split": 0.25}}


def experiment(**sections):
    return experiment_of(
        {
            "name": "run",
            "arch": {"type": "UNet", "args": {"base_channels": 2}},
            "optimizer": {"type": "SGD", "args": {"lr": 0.1}},
            "trainer": {"epochs": 1},
            **sections,
        }
    )


def test_validation_comes_from_its_section_or_from_a_split_of_the_training_data():
    train, val = build_loaders(experiment(train_loader=TRAIN, val_loader=VAL))
    assert (len(train.dataset), val.dataset.split, val.dataset.val) == (12, "val", True)
    train, val = build_loaders(experiment(train_loader=SPLIT))
    assert (len(train.dataset), len(val.dataset)) == (9, 3)


def test_training_without_validation_opens_no_validation_data():
    missing = {"type": "VOC", "args": {"data_dir": "nowhere", "split": "val", "batch_size": 1}}
    _, val = build_loaders(
        experiment(
            train_loader=TRAIN, val_loader=missing, trainer={"epochs": 1, "val": False, "monitor": "off"}
        )
    )
    assert val is None


def test_loaders_of_different_classes_are_refused(tmp_path):
    from PIL import Image

    for number in range(2):
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.new("L" if kind == "masks" else "RGB", (8, 8)).save(tmp_path / kind / f"{number}.png")
    args = {"data_dir": str(tmp_path), "split": "val", "val": True, "batch_size": 1, "images": "images",
            "masks": "masks", "classes": ["a", "b"], "val_fraction": 0.5}  # fmt: skip
    with pytest.raises(ConfigError, match="val_loader: its classes are not those of train_loader"):
        build_loaders(experiment(train_loader=TRAIN, val_loader={"type": "Folder", "args": args}))


def test_every_part_of_the_data_is_examined():
    titles = examined_datasets(DataSections.of({"train_loader": SPLIT, "val_loader": VAL}))
    assert list(titles) == ["train_loader (train)", "train_loader (val_split)", "val_loader (val)"]
    with pytest.raises(ConfigError, match="train_loader: missing"):
        examined_datasets(DataSections.of({}))


def test_evaluation_sees_images_as_they_are_on_disk():
    sections = DataSections.of({"train_loader": TRAIN, "val_loader": VAL})
    assert evaluation_dataset(sections).split == "val"
    train = evaluation_dataset(sections, split="train")
    assert train.val and train.crop_size is None
    assert train.load_checked(0)[0].shape == (32, 32, 3)
    assert len(evaluation_dataset(DataSections.of({"train_loader": SPLIT}))) == 3


@pytest.mark.parametrize(
    ("config", "message"),
    [({}, "names no data set"), ({"train_loader": TRAIN}, "neither val_loader nor val_split")],
)
def test_evaluation_without_validation_data_says_what_is_missing(config, message):
    with pytest.raises(ConfigError, match=message):
        evaluation_dataset(DataSections.of(config))


def test_the_loader_to_look_at_is_that_of_training():
    sections = DataSections.of({"train_loader": SPLIT})
    loader, section = shown_loader(sections, val=False)
    assert (section, len(loader.dataset)) == ("train_loader", 9)
    loader, _ = shown_loader(sections, val=True)
    assert len(loader.dataset) == 3
    with pytest.raises(ConfigError, match="neither val_loader nor val_split"):
        shown_loader(DataSections.of({"train_loader": TRAIN}), val=True)


def test_mistakes_of_the_sections_come_together_and_other_sections_do_not_matter():
    wrong = {"train_loader": {"args": {}}, "val_loader": 3, "arch": "nonsense", "seed": -1}
    with pytest.raises(ConfigError) as caught:
        DataSections.of(wrong)
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [
        "train_loader.type", "val_loader", "seed",
    ]  # fmt: skip


MIXED = {"repeat": 2, "sampler": "rare_classes", "sampler_threshold": 1.0, "mix": {"class_paste": 1, "cutmix": 1},
         "erase": 0.5}  # fmt: skip


def test_options_of_training_batches_reach_neither_evaluation_nor_examination(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path))
    sections = DataSections.of({"train_loader": {"type": "Shapes", "args": {**SHAPES, **MIXED}}})
    dataset = evaluation_dataset(sections, split="val")
    assert dataset.val and dataset.transform.keeps_images and not dataset.transform.mixes.names
    (examined,) = examined_datasets(sections).values()
    assert len(examined) == 12 and not list(tmp_path.glob("mask-histograms*"))  # no mask was counted
    loader, _ = shown_loader(sections, val=False)  # a batch is shown as training sees it
    assert (
        loader.dataset.transform.mixes.names == ["cutmix", "class_paste"]
        and len(loader.batches.factors) == 12
    )
