"""Samples that take parts of others: every pixel has a source, and no draw depends on workers or caches."""

from __future__ import annotations

import copy
import logging

import numpy as np
import pytest

from base import BaseDataLoader, BaseDataSet
from base.base_dataset import SampleKey
from dataloaders import CamVid, Folder
from tests.dataloaders.test_contract import batches, equal
from tests.dataloaders.trees import blocks, camvid, picture, save
from tests.experiments import open_data
from utils.errors import ConfigError

NUMBERS = tuple("abcdefgh")
EVERYTHING = {
    "crop_size": 24, "base_size": 48, "rotate": True, "elastic": 2.0, "label_elastic": 1.0, "gamma": True,
    "exposure": True, "brightness": 0.2, "color_p": 0.5, "mix": {"mosaic": 0.5, "cutmix": 0.5, "class_paste": 0.5},
    "erase": {"p": 0.5, "target": "void"}, "sampler": "rare_classes", "sampler_threshold": 1.0, "repeat": 2,
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path / "cache"))


class NumberedDataSet(BaseDataSet):
    """Image n has the value 20 n + 10 and the class n in every pixel, but for a column of void."""

    classes = NUMBERS
    hidden_options = ("data_dir", "split")

    def __init__(self, channels: int = 3, count: int = len(NUMBERS), **options):
        self.numbers = list(range(count))
        self.mean = self.std = (0.9,) * channels
        super().__init__("", "train", **options)

    def _set_files(self):
        """Leave the list empty: images are made."""

    def __len__(self):
        return len(self.numbers)

    def groups(self):
        return [NUMBERS[number] for number in self.numbers]

    def subset(self, indices, *, val=False):
        part = super().subset(indices, val=val)
        part.numbers = [self.numbers[index] for index in indices]
        return part

    def _load_data(self, index):
        number = self.numbers[index]
        size = (20 + 4 * (number % 3), 30)
        image, label = (
            np.full((*size, len(self.mean)), 20 * number + 10, np.uint8),
            np.full(size, number, np.uint8),
        )
        label[:, 12] = 255
        return image, label, NUMBERS[number]


class Numbered(BaseDataLoader):
    dataset_class = NumberedDataSet


def in_it(sample):
    """The numbers of the images in a sample; every labelled pixel shows the image of its class."""
    fill = round(255 * 0.9)
    image, label = sample.image.astype(int), sample.label
    assert (image == image[..., :1]).all()
    shown = (image[..., 0] - 10) // 20
    assert (shown == label)[label != 255].all()
    assert ((image[..., 0] == 20 * shown + 10) | (image[..., 0] == fill)).all()
    return set(np.unique(shown[image[..., 0] != fill]).tolist())


@pytest.mark.parametrize("channels", [1, 3, 7])
@pytest.mark.parametrize("crop", [{}, {"crop_size": (16, 24), "rotate": True}])
@pytest.mark.parametrize(("mix", "most"), [
    ({"mosaic": 1}, 4), ({"cutmix": {"p": 1, "area": [0.2, 0.6]}}, 2),
    ({"class_paste": {"p": 1, "classes": ["d"]}}, 2),
    ({"mosaic": 1, "cutmix": 1, "class_paste": {"p": 1, "classes": ["d", "e"]}}, 6),
])  # fmt: skip
def test_every_pixel_comes_from_a_source_with_its_own_label(mix, most, crop, channels):
    mixed, alone = (NumberedDataSet(channels, mix=m, **crop) for m in (mix, None))
    most_seen = 0
    for index in range(8):
        key = SampleKey(2, index)
        sample, plain = mixed.load(key), alone.load(key)
        assert sample.image.shape == plain.image.shape and sample.image_id == plain.image_id
        found = in_it(sample)
        most_seen = max(most_seen, len(found))
        assert len(found) <= most
        own = sample.label == index  # the sample itself is augmented as without mixes
        assert (plain.label[own] == index).all() and (plain.image[own] == sample.image[own]).all()
        if [*mix] == ["class_paste"] and not crop:
            assert found == {3} if index == 3 else found >= {3}
    assert most_seen > most // 2


def test_probabilities_and_order_of_the_draws():
    plain = NumberedDataSet(crop_size=16)
    never, half = (NumberedDataSet(crop_size=16, mix={"cutmix": p, "mosaic": p}) for p in (0.0, 0.5))
    keys = [SampleKey(epoch, index) for epoch in range(10) for index in range(8)]
    assert all(np.array_equal(plain.load(key).image, never.load(key).image) for key in keys[:20])
    assert (
        0.55 < np.mean([len(in_it(half.load(key))) > 1 for key in keys]) < 0.9
    )  # 1 - 0.5 * 0.5, mostly visible
    passes = [half.load(SampleKey(1, 3 + 8 * number)).label.tobytes() for number in range(6)]
    assert len(set(passes)) > 1  # another pass has draws of its own


def test_parts_never_come_from_what_val_split_keeps_back():
    loader = Numbered(batch_size=2, val_split=3, crop_size=16, mix={"mosaic": 1, "class_paste": {"p": 1}})
    kept = set(loader.get_val_loader().dataset.numbers)
    seen = set().union(*(in_it(loader.dataset.load(SampleKey(e, i))) for e in range(6) for i in range(5)))
    assert len(kept) == 3 and seen == set(range(8)) - kept
    (item, *_) = loader.get_val_loader()
    assert set(item.target.unique().tolist()) <= {*kept, 255}  # validation images are not mixed


@pytest.mark.parametrize("cache", [None, "ram", "disk"])
def test_a_mix_writes_to_no_cached_image(cache):
    dataset = NumberedDataSet(cache=cache, flip=False, mix={"mosaic": 1, "class_paste": 1}, erase=1.0)
    before = copy.deepcopy([dataset.load_checked(index) for index in range(8)])
    for epoch in range(3):
        for index in range(8):
            dataset.load(SampleKey(epoch, index))
    for index in range(8):
        now = dataset.load_checked(index) if cache is None else dataset.cache[index]
        assert np.array_equal(now[0], before[index][0]) and np.array_equal(now[1], before[index][1])


@pytest.mark.slow
@pytest.mark.parametrize("options", [
    {"num_workers": 1}, {"cache": "ram", "num_workers": 2},
    {"cache": "disk", "num_workers": 2, "worker_type": "process"},
])  # fmt: skip
def test_batches_depend_neither_on_workers_nor_on_caches(tmp_path, options):
    args = {**camvid(tmp_path), "split": "train", "batch_size": 2, **EVERYTHING}
    alone, other = CamVid(**args), CamVid(**args, **options)
    for epoch in (1, 2):
        expected = batches(alone, epoch)
        assert equal(expected, batches(other, epoch)) and len(expected) == len(alone)
    assert equal(batches(other, 1, start=2), batches(alone, 1)[2:])  # resumed within an epoch


def test_a_sample_follows_from_seed_epoch_and_index(tmp_path):
    args = {**camvid(tmp_path), "split": "train", "batch_size": 2, **EVERYTHING}
    first, again, other = CamVid(**args), CamVid(**args), CamVid(**args, seed=1)
    assert equal(batches(first, 3), batches(again, 3))
    assert not equal(batches(first, 3), batches(first, 4)) and not equal(batches(first, 3), batches(other, 3))


@pytest.mark.slow
def test_transforms_of_albumentations_may_change_the_size_of_a_part():
    pytest.importorskip("albumentations")
    crop = {"type": "RandomSizedCrop", "args": {"min_max_height": [8, 16], "size": [9, 11], "p": 0.5}}
    dataset = NumberedDataSet(mix={"mosaic": 1, "cutmix": 1, "class_paste": 1}, albumentations=[crop])
    sizes = {dataset.load(SampleKey(epoch, 0)).label.shape for epoch in range(6)}
    assert sizes == {(9, 11), (20, 30)}
    for epoch in range(6):
        in_it(dataset.load(SampleKey(epoch, 5)))


@pytest.mark.parametrize(("options", "line"), [
    ({"count": 1, "mix": ["cutmix"]}, "mix: there is 1 image; a mix takes parts of at least 2"),
    ({"count": 2, "mix": {"class_paste": {"classes": ["g", "h"]}}},
     "mix.class_paste.classes: no image of the split 'train' holds g, h"),
    ({"count": 4, "channels": 1, "mix": {"class_paste": {"classes": ["x"]}}},
     "mix.class_paste.classes: there is no class 'x'; choose from: a, b"),
])  # fmt: skip
def test_a_mix_that_cannot_be_is_one_line(options, line):
    with pytest.raises(ValueError) as caught:
        Numbered(batch_size=1, **options)
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)


def test_a_data_set_without_its_loader_refuses_too():
    with pytest.raises(ValueError, match="there is 1 image"):
        NumberedDataSet(count=1, mix={"cutmix": 1}).load(SampleKey(0, 0))
    with pytest.raises(ValueError, match="no image of the split"):
        NumberedDataSet(count=2, mix={"class_paste": {"p": 1, "classes": ["g"]}}).load(SampleKey(0, 0))


def test_a_class_that_no_image_holds_is_named_once(caplog):
    with caplog.at_level(logging.INFO):
        loader = Numbered(batch_size=2, count=3, mix={"class_paste": {"classes": ["a", "g"]}})
        batches(loader)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["mix.class_paste.classes: no image holds g; not pasted", "class_paste: a (1 images)"]


def test_classes_of_equal_size_have_no_rare_one(tmp_path):
    for number in range(2):
        save(tmp_path / "images" / f"{number}.png", picture((16, 16), number))
        save(tmp_path / "masks" / f"{number}.png", np.full((16, 16), number, np.uint8))
    args = {"data_dir": str(tmp_path), "classes": ["a", "b"], "split": "all", "batch_size": 1}
    with pytest.raises(ValueError, match="no class is rarer than the others here; name those to paste"):
        Folder(**args, mix=["class_paste"])
    with pytest.raises(ValueError, match="mix: the split 'all' has no masks"):
        Folder(**args, masks=None, mix=["cutmix"])


@pytest.mark.parametrize(("args", "line"), [
    ({"mix": {"cutmix": 1.5}}, "train_loader.args.mix.cutmix.p: expected a number, between 0 and 1, got 1.5"),
    ({"mix": {"class_paste": {"classes": ["Pol"]}}},
     "train_loader.args.mix.class_paste.classes: there is no class 'Pol'; did you mean 'Pole'"),
    ({"mix": 3}, "train_loader.args.mix: expected a list with items that are a text or an object or null, got 3"),
    ({"color_p": 1.1}, "train_loader.args.color_p: expected a number, between 0 and 1, got 1.1"),
    ({"gamma": [0, 2]}, "train_loader.args.gamma: expected"),
    ({"gamma": [2, 1]}, "train_loader.args.gamma: 2.0 to 1.0 is no range"),
    ({"erase": 7}, "train_loader.args.erase: expected"),
])  # fmt: skip
def test_a_config_is_refused_before_any_file_is_read(args, line):
    with pytest.raises(ConfigError) as caught:
        open_data(
            {"type": "CamVid", "args": {"data_dir": "nowhere", "split": "train", "batch_size": 2, **args}}
        )
    (problem,) = caught.value.problems
    assert line in problem


def test_a_jpeg_is_decoded_no_larger_than_needed_for_a_part_too(tmp_path):
    for number in range(2):
        save(tmp_path / "images" / f"{number}.jpg", picture((64, 96), number))
        save(tmp_path / "masks" / f"{number}.png", blocks((64, 96), [0, 1, 2], number))
    args = {"data_dir": str(tmp_path), "classes": ["a", "b", "c"], "split": "all", "batch_size": 2}
    loader = Folder(**args, base_size=40, crop_size=32, scale=(0.5, 1.0), mix={"mosaic": 1, "class_paste": 1})
    assert loader.dataset._can_reduce(0)
    assert all(batch.images.shape == (2, 32, 32, 3) for batch in batches(loader))
