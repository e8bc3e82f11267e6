"""``mix`` and ``erase`` as users write them."""

from __future__ import annotations

import pytest

from utils.augment.options import ClassPaste, CutMix, Erasing, Mixes, Mosaic, check_mix_classes, check_objects
from utils.augment.transform import SampleTransform


def check(**args):
    return check_objects(args, "")


@pytest.mark.parametrize(("written", "mixes"), [
    (None, Mixes()), ([], Mixes()), ({}, Mixes()), ({"cutmix": None}, Mixes()), ({"cutmix": False}, Mixes()),
    (["class_paste", "mosaic"], Mixes(Mosaic(0.5), None, ClassPaste(0.5, "rare"))),
    ({"cutmix": 1, "mosaic": True}, Mixes(Mosaic(0.5), CutMix(1))),
    ({"cutmix": {"p": 0.2, "area": [0.1, 0.3]}}, Mixes(cutmix=CutMix(0.2, [0.1, 0.3]))),
    ({"class_paste": {"classes": ["a"]}}, Mixes(class_paste=ClassPaste(0.5, ["a"]))),
])  # fmt: skip
def test_a_list_of_names_or_an_object(written, mixes):
    assert check(mix=written) == []
    transform = SampleTransform(mix=written)
    assert transform.mixes == mixes
    assert not SampleTransform(mix=written, augment=False).mixes.names  # nothing random
    assert not transform.for_validation().mixes.names


@pytest.mark.parametrize(("written", "erasing"), [
    (None, None), (0.3, Erasing(0.3)),
    ({"area": [0.1, 0.2], "target": "void"}, Erasing(0.5, [0.1, 0.2], target="void")),
])  # fmt: skip
def test_erasing_is_a_probability_or_an_object(written, erasing):
    assert check(erase=written) == []
    assert SampleTransform(erase=written).erasing == erasing
    assert SampleTransform(erase=written, augment=False).erasing is None


@pytest.mark.parametrize(("args", "line"), [
    ({"mix": {"cutmix": 1.5}}, "mix.cutmix.p: expected a number, between 0 and 1, got 1.5"),
    ({"mix": {"mosaic": {"p": -0.1}}}, "mix.mosaic.p: expected a number, between 0 and 1, got -0.1"),
    ({"mix": {"cutmx": 0.5}}, "mix.cutmx: mix has no such argument; did you mean 'cutmix'?"),
    ({"mix": ["cutmx"]}, "mix[0]: there is no 'cutmx'; did you mean 'cutmix'?"),
    ({"mix": ["cutmix", "cutmix"]}, "mix[1]: 'cutmix' is there twice"),
    ({"mix": ["mixup"]}, "mix[0]: mixup is not offered: it blends the pixels of two images"),
    ({"mix": {"mixup": 0.5}}, "mix.mixup: not offered: it blends the pixels of two images"),
    ({"mix": {"cutmix": "often"}}, "mix.cutmix: expected an object or null, got 'often'"),
    ({"mix": {"cutmix": {"area": [0.5, 0.2]}}}, "mix.cutmix.area: 0.5 to 0.2 is no range"),
    ({"mix": {"cutmix": {"alpha": 1}}}, "mix.cutmix.alpha: mix.cutmix has no such argument. It takes: p, area"),
    ({"mix": {"class_paste": {"classes": []}}}, "mix.class_paste.classes: no class is named"),
    ({"mix": {"class_paste": {"classes": "car"}}}, "mix.class_paste.classes: expected one of 'rare' or a list"),
    ({"mix": ["cutmix"], "val": True}, "mix: validation data (val is true) is never augmented"),
    ({"erase": 0.5, "val": True}, "erase: validation data (val is true) is never augmented"),
    ({"erase": {"p": 2}}, "erase.p: expected a number, between 0 and 1, got 2"),
    ({"erase": {"aspect": [3, 1]}}, "erase.aspect: 3 to 1 is no range"),
    ({"erase": {"target": "fill"}}, "erase.target: expected one of 'keep', 'void', got 'fill'"),
])  # fmt: skip
def test_a_mistake_is_one_line_with_its_path(args, line):
    (found,) = check(**args)
    assert found.startswith(line) and "\n" not in found
    with pytest.raises(ValueError) as caught:
        SampleTransform(**args)
    assert str(caught.value) == found


def test_a_class_to_paste_is_one_of_the_data():
    mixes = Mixes(class_paste=ClassPaste(classes=["car", "pol"]))
    (line,) = check_mix_classes(["car", "pole"], mixes, "mix")
    assert line == "mix.class_paste.classes: there is no class 'pol'; did you mean 'pole'?"
    assert check_mix_classes(["car", "pol"], mixes, "mix") == []
    assert check_mix_classes(["a", "b"], Mixes(class_paste=ClassPaste()), "mix") == []
    with pytest.raises(ValueError, match=r"mix.class_paste.classes: there is no class 'pol'"):
        SampleTransform.for_classes(["car"], mix={"class_paste": {"classes": ["pol"]}})
