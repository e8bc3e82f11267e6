from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from base import BaseDataSet
from base.base_dataset import Sample, SampleKey
from dataloaders import Shapes
from tests.dataloaders.trees import blocks, picture, save
from utils.errors import DataError


class Pairs(BaseDataSet):
    classes = ("a", "b", "c")
    splits = ("train",)

    def _set_files(self):
        self.files = [
            Sample(p.stem, p, p.parent / f"{p.stem}_m.png") for p in sorted(self.root.glob("*.jpg"))
        ]


def pair(folder, image_size=(40, 60), mask_size=None, exif=None, name="x"):
    image = Image.fromarray(picture(image_size, 0))
    image.save(folder / f"{name}.jpg", quality=95, **({"exif": exif} if exif else {}))
    save(folder / f"{name}_m.png", blocks(mask_size or image_size, [0, 1, 2], 0))
    return str(folder)


@pytest.mark.parametrize(
    "options", [{}, {"val": True}, {"crop_size": 20}, {"crop_size": 20, "base_size": 30}]
)
def test_a_mask_of_another_size_is_an_error_naming_both(tmp_path, options):
    """D11: no path crops or stretches a mask that does not fit."""
    dataset = Pairs(pair(tmp_path, (40, 60), (80, 120)), "train", **options)
    with pytest.raises(DataError, match=r"x\.jpg is 60x40 pixels, its mask .*x_m\.png 120x80"):
        dataset.load(SampleKey(0, 0))


def test_a_photo_with_exif_rotation_is_named_as_such(tmp_path):
    """D14."""
    exif = Image.Exif()
    exif[0x0112] = 6
    dataset = Pairs(pair(tmp_path, (40, 60), (60, 40), exif), "train", crop_size=20)
    with pytest.raises(DataError, match="EXIF rotation"):
        dataset.load(SampleKey(0, 0))


def test_reduced_decoding_shows_the_same_picture(tmp_path):
    """A JPEG decoded at a half or a quarter gives the crop of the whole one."""
    root = pair(tmp_path, (240, 330))
    dataset = Pairs(root, "train", base_size=80, crop_size=64, scale=(0.5, 1.2), rotate=20)
    assert dataset._can_reduce(0)

    class Whole(Pairs):
        def _load_data(self, index):
            return super()._load_data(index)

    whole = Whole(root, "train", base_size=80, crop_size=64, scale=(0.5, 1.2), rotate=20)
    assert not whole._can_reduce(0)
    for epoch in range(20):
        small, full = dataset.load(SampleKey(epoch, 0)), whole.load(SampleKey(epoch, 0))
        assert np.array_equal(small.label, full.label)
        assert np.abs(small.image.astype(int) - full.image).mean() < 4


@pytest.mark.parametrize("reduction", [2, 4, 8])
@pytest.mark.parametrize("extra", [1, 3, 5, 7])
def test_a_reduced_photo_lies_where_the_full_one_does(tmp_path, reduction, extra):
    """N2: its last pixels reach beyond the photo where a side is no multiple; no drift towards them."""
    size = (40 * reduction + extra, 56 * reduction + extra)
    rows, columns = np.mgrid[: size[0], : size[1]]
    ramps = np.stack([255 * columns / size[1], 255 * rows / size[0], 0 * rows], axis=2)
    Image.fromarray(ramps.round().astype(np.uint8)).save(tmp_path / "x.jpg", quality=100, subsampling=0)
    save(tmp_path / "x_m.png", np.zeros(size, np.uint8))
    longest = size[1] // reduction
    reduced = Pairs(str(tmp_path), "train", augment=False, base_size=longest)
    geometry = reduced.transform.plan(np.zeros(size, np.uint8), np.random.default_rng(0))
    assert geometry.reduction == reduction
    image = reduced.load(SampleKey(0, 0)).image.astype(float)
    source = reduced._load_data(0)[0]
    full = reduced.transform.apply(source, np.zeros(size, np.uint8), geometry, (0, 0, 0), None)[0].astype(
        float
    )
    inner = np.s_[2:-2, 2:-2]
    drift = [  # in pixels of the output, near the right and near the bottom border
        abs((image - full)[inner][:, -8:, 0].mean()) / 255 * image.shape[1],
        abs((image - full)[inner][-8:, :, 1].mean()) / 255 * image.shape[0],
    ]
    assert max(drift) < 0.06


def test_without_augmentation_nothing_is_drawn(tmp_path):
    root = pair(tmp_path, (40, 60))
    whole = Pairs(root, "train", augment=False).load(SampleKey(0, 0))
    assert whole.label.shape == (40, 60)
    for options in ({"crop_size": 32}, {"crop_size": 32, "base_size": 48}, {"base_size": 30}):
        dataset = Pairs(root, "train", augment=False, rotate=True, blur=True, brightness=0.5, **options)
        first, second = dataset.load(SampleKey(0, 0)), dataset.load(SampleKey(7, 0))
        assert np.array_equal(first.image, second.image) and np.array_equal(first.label, second.label)
    assert first.label.shape == (20, 30)


def test_the_fill_is_the_mean_and_the_corners_are_void(tmp_path):
    """D01, D02."""
    dataset = Pairs(pair(tmp_path, (20, 20)), "train", crop_size=64, rotate=(30.0, 30.0), scale=False)
    item = dataset.load(SampleKey(0, 0))
    assert (item.label == 255).sum() >= 64 * 64 - 20 * 20 - 60
    padding = (item.image == dataset.info.fill_colour).all(axis=2)
    assert (item.label[padding] == 255).all() and padding.sum() > 3000


@pytest.mark.slow
def test_crops_with_too_little_in_them_are_drawn_again(tmp_path):
    """D08."""
    root = pair(tmp_path, (200, 200))
    mask = np.full((200, 200), 255, np.uint8)
    mask[:60, :60] = 1
    save(tmp_path / "x_m.png", mask)

    def share(**options):
        dataset = Pairs(root, "train", crop_size=50, scale=False, **options)
        return np.mean([(dataset.load(SampleKey(e, 0)).label != 255).mean() >= 0.2 for e in range(60)])

    assert share(min_valid=0.2) > 2 * share() > 0


@pytest.mark.slow
def test_crops_around_rare_classes(tmp_path):
    root = pair(tmp_path, (300, 300))
    mask = np.zeros((300, 300), np.uint8)
    mask[250:254, 30:34] = 2
    save(tmp_path / "x_m.png", mask)

    def seen(**options):
        dataset = Pairs(root, "train", crop_size=40, scale=False, **options)
        return sum((dataset.load(SampleKey(e, 0)).label == 2).any() for e in range(60))

    assert seen(class_crop=1.0) > 20 > 5 > seen()


def test_draws_depend_on_seed_epoch_and_index_alone(tmp_path):
    root = pair(tmp_path)
    make = lambda seed: Pairs(root, "train", crop_size=20, seed=seed)  # noqa: E731
    a, b = make(1), make(1)
    a.load(SampleKey(0, 0))  # a draw more
    assert np.array_equal(a.load(SampleKey(5, 0)).image, b.load(SampleKey(5, 0)).image)
    assert not np.array_equal(a.load(SampleKey(5, 0)).image, make(2).load(SampleKey(5, 0)).image)


class TestArgumentsOfAConfig:
    """Mistakes are found before a file is read."""

    def test_every_mistake_is_one_line_with_its_path(self):
        args = {"data_dir": "nowhere", "split": "trian", "val": True, "augment": True, "blur": [2.0, 1.0]}
        problems = Pairs.check_arguments(args, "val_loader.args")
        assert problems == [
            "val_loader.args.split: there is no 'trian'; choose from: train",
            "val_loader.args.augment: augment and val exclude each other: validation data is never augmented",
            "val_loader.args.blur: 2.0 to 1.0 is no range",
        ]

    @pytest.mark.parametrize("options", [
        {"split": "trian"}, {"val": True, "augment": True}, {"blur": [2.0, 1.0]},
    ])  # fmt: skip
    def test_constructors_refuse_in_the_same_words(self, options, tmp_path):
        args = {"data_dir": pair(tmp_path), "split": "train", **options}
        (problem,) = Pairs.check_arguments(args, "")
        with pytest.raises(ValueError) as caught:
            Pairs(**args)
        assert str(caught.value) == problem

    def test_a_single_class_needs_a_background(self, tmp_path):
        class Single(Pairs):
            classes = ("cell",)

        (problem,) = Single.check_arguments({"split": "train"}, "train_loader.args")
        assert problem.startswith("train_loader.args.classes: a single class cannot be learned; ")
        assert 'put the background first: ["background", "cell"]' in problem and "one logit" in problem
        with pytest.raises(ValueError, match="a single class cannot be learned"):
            Single(pair(tmp_path), "train")

    def test_splits_that_a_constructor_sets_are_not_judged_before_it_runs(self, tmp_path):
        class Years(BaseDataSet):
            classes = ("a", "b", "c")

            def __init__(self, data_dir, split, years=(2001,), **options):
                self.splits = [str(year) for year in years]
                super().__init__(data_dir, split, **options)

            def _set_files(self):
                self.files = [Sample("x", self.root / "x.jpg", self.root / "x_m.png")]

        assert Years.check_arguments({"split": "2001"}, "") == []
        assert len(Years(pair(tmp_path), "2001")) == 1
        with pytest.raises(ValueError, match="there is no '2002'; choose from: 2001"):
            Years(str(tmp_path), "2002")


def test_a_plain_loader_of_torch_gets_batches_of_tensors():
    from torch.utils.data import DataLoader

    dataset = Shapes(split="train", batch_size=1, num_images=4, image_size=32, augment=False).dataset
    images, labels = next(iter(DataLoader(dataset, batch_size=4)))
    assert images.shape == (4, 3, 32, 32) and images.dtype == torch.float32
    assert labels.shape == (4, 32, 32) and labels.dtype == torch.int64
    assert torch.equal(images[1], dataset[1][0])
