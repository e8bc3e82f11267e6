"""Options as users write them, the numbers that they stand for, and the plan of a sample."""

from __future__ import annotations

import pickle
from dataclasses import fields

import numpy as np
import pytest

from utils.augment.draws import Ranges
from utils.augment.transform import SampleTransform

FILL = (1, 2, 3)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.slow
@pytest.mark.parametrize(("written", "drawn"), [
    ({"flip": True}, {"flip": 0.5}), ({"flip": False}, {"flip": 0.0}), ({"flip": 0.2}, {"flip": 0.2}),
    ({"vertical_flip": True}, {"vertical_flip": 0.5}),
    ({"rotate": True}, {"rotate": (-10.0, 10.0)}), ({"rotate": 7}, {"rotate": (-7.0, 7.0)}),
    ({"rotate": [-3, 20]}, {"rotate": (-3.0, 20.0)}),
    ({"scale": True}, {"scale": (0.5, 2.0)}), ({"scale": False, "crop_size": 9}, {"scale": (1.0, 1.0)}),
    ({"crop_size": 9}, {"scale": (0.5, 2.0)}), ({}, {"scale": (1.0, 1.0)}),
    ({"blur": True}, {"blur": (0.0, 1.5)}), ({"blur": [1, 2]}, {"blur": (1.0, 2.0)}),
    ({"elastic": True}, {"elastic": 8.0}), ({"elastic": 3}, {"elastic": 3.0}), ({"grid": True}, {"grid": 0.3}),
    ({"brightness": 0.4, "hue": 9}, {"brightness": 0.4, "hue": 9.0}),
])  # fmt: skip
def test_options_stand_for_these_numbers(written, drawn):
    ranges = SampleTransform(**{"flip": False, **written}).ranges
    assert ranges == Ranges(**drawn)


def test_every_number_that_is_drawn_has_an_option():
    options = {item.name: item for item in fields(SampleTransform)}
    assert {item.name for item in fields(Ranges)} <= options.keys()
    documented = SampleTransform.__doc__.split("Args:")[1]
    assert all(f"        {name}: " in documented for name in options)


@pytest.mark.parametrize(("size", "output"), [(None, None), (8, (8, 8)), ([6, 9], (6, 9))])
def test_a_crop_is_a_square_or_height_and_width(size, output):
    assert SampleTransform(crop_size=size).output_size == output


@pytest.mark.parametrize(("options", "random"), [
    ({}, True), ({"val": True}, False), ({"augment": False}, False), ({"val": True, "augment": False}, False),
])  # fmt: skip
def test_validation_and_still_data_draw_nothing(options, random):
    transform = SampleTransform(crop_size=(5, 6), rotate=True, brightness=0.5, **options)
    assert transform.is_random is random
    label = np.arange(200, dtype=np.uint8).reshape(10, 20)
    image = np.repeat(label[..., None], 3, axis=2)
    results = {
        transform.apply(image, label, transform.plan(label, draw), FILL, draw)[0].tobytes()
        for draw in map(rng, range(5))
    }
    assert (len(results) > 1) is random


def test_every_contradiction_is_reported_with_its_path():
    args = {"val": True, "augment": True, "scale": [2, 1], "rotate": [5.0, -5.0], "unknown": 1}
    assert SampleTransform.check_arguments(args, "a.b") == [
        "a.b.augment: augment and val exclude each other: validation data is never augmented",
        "a.b.scale: 2.0 to 1.0 is no range",
        "a.b.rotate: 5.0 to -5.0 is no range",
    ]
    del args["unknown"]
    with pytest.raises(ValueError) as caught:
        SampleTransform(**args)
    assert str(caught.value).count("\n") == 2 and str(caught.value).startswith("augment: ")


def test_for_validation_leaves_images_as_they_are():
    transform = SampleTransform(crop_size=8, base_size=16, elastic=True).for_validation()
    label = np.arange(120, dtype=np.uint8).reshape(10, 12)
    image = np.repeat(label[..., None], 3, axis=2)
    plan = transform.plan(label, rng())
    assert transform.keeps_images and plan.is_identity
    same = transform.apply(image, label, plan, FILL, rng())
    assert same[0] is image and same[1] is label


def test_without_a_labelled_pixel_a_class_crop_is_an_ordinary_one():
    void = np.full((30, 40), 255, np.uint8)
    transform = SampleTransform(crop_size=8, class_crop=1.0, min_valid=0.5)
    assert transform.plan(void, rng()).size == (8, 8)


def test_it_pickles_after_its_numbers_were_computed():
    transform = SampleTransform(crop_size=8, blur=True)
    label = np.zeros((20, 20), np.uint8)
    before = transform.plan(label, rng(3)).matrix
    again = pickle.loads(pickle.dumps(transform))
    assert again == transform and np.array_equal(again.plan(label, rng(3)).matrix, before)


@pytest.mark.parametrize(("options", "mirrors"), [
    ({}, True), ({"flip": 0.1}, True), ({"flip": False}, False), ({"flip": 0.0, "vertical_flip": True}, False),
    ({"flip": True, "augment": False}, False), ({"flip": True, "val": True}, False),
    ({"flip": False, "albumentations": [{"type": "HorizontalFlip"}]}, True),
    ({"flip": False, "albumentations": [{"type": "GaussNoise"}]}, False),
])  # fmt: skip
def test_a_prediction_learns_whether_training_mirrored_images(options, mirrors):
    if "albumentations" in options:
        pytest.importorskip("albumentations")
    facts = SampleTransform(**options).facts
    assert facts == {"crop_size": None, "flip": mirrors, "flip_pairs": []}


@pytest.mark.parametrize(("flips", "swapped"), [
    ({"flip": 1.0}, True), ({"flip": False, "vertical_flip": 1.0}, True),
    ({"flip": False, "rotate": [180, 180]}, False),
    ({"flip": 1.0, "vertical_flip": 1.0}, False), ({"flip": False}, False), ({"flip": 1.0, "val": True}, False),
])  # fmt: skip
def test_labels_of_a_pair_are_swapped_in_mirror_images_and_not_in_rotations(flips, swapped):
    transform = SampleTransform(flip_pairs=[["left", "right"]], **flips)
    label = np.array([[0, 1, 2, 255]] * 4, np.uint8)
    image = np.zeros((4, 4, 3), np.uint8)
    geometry = transform.plan(label, rng())
    plain = SampleTransform(**flips).apply(image, label, geometry, FILL, rng())[1]
    found = transform.apply(image, label, geometry, FILL, rng(), ("left", "middle", "right"))[1]
    expected = np.where(plain == 255, plain, 2 - plain) if swapped else plain  # 1 is in the middle
    assert np.array_equal(found, expected)


def test_pairs_name_classes_and_each_once():
    with pytest.raises(ValueError, match="flip_pairs: there is no class 'up'; choose from: left, right"):
        SampleTransform.for_classes(("left", "right"), flip_pairs=[["left", "up"]])
    with pytest.raises(ValueError, match="flip_pairs: each class name may occur once"):
        SampleTransform(flip_pairs=[["left", "right"], ["left", "other"]])
    mirroring = [{"type": "HorizontalFlip"}]
    problems = SampleTransform.check_arguments({"flip_pairs": [["a", "b"]], "albumentations": mirroring}, "")
    assert problems[0].startswith("flip_pairs: HorizontalFlip of albumentations mirrors images without")
