from __future__ import annotations

import pytest

from utils.survey.defaults import choose_defaults, find_group


def defaults(
    count=100, size=(512, 512), shares=(0.8, 0.2), channels=3, val_share=0.2, sizes=None, thickness=0.0
):
    names = [f"{number:04d}" for number in range(count)]
    return choose_defaults(sizes or [size] * count, names, shares, channels, val_share, thickness)


@pytest.mark.parametrize("count", [2, 5, 12, 100, 1000, 20000])
@pytest.mark.parametrize("size", [(20, 90), (64, 64), (480, 360), (1280, 1918), (4000, 6000)])
@pytest.mark.parametrize("classes", [2, 5])
def test_any_folder_gets_a_run_that_fits_and_is_long_enough(count, size, classes):
    made = defaults(count, size, (1 / classes,) * classes)
    images = round(count * 0.8)
    steps = images * made.repeat // made.batch
    assert made.crop % 32 == 0 and (made.crop <= min(size) or made.crop == 32)
    assert 1 < made.batch <= images * made.repeat
    assert steps >= 20, "epochs of a few steps are all validation and saving"
    assert made.epochs * steps >= 600
    assert made.batch * made.crop**2 <= 4 * 256**2 or made.batch == 2


def test_large_images_get_a_larger_crop_and_a_smaller_batch():
    small, large = defaults(size=(512, 512)), defaults(size=(1280, 1918))
    assert (small.crop, small.batch) == (192, 4) and (large.crop, large.batch) == (416, 2)


def test_large_objects_are_trained_on_whole_images_of_varied_colour():
    thin, thick = defaults(thickness=0.02), defaults(thickness=0.3)
    assert (thin.crop, thin.batch, thin.jitter) == (192, 4, 0)
    assert (thick.crop, thick.batch, thick.jitter) == (512, 2, 0.2)
    assert thick.train_options(512)["saturation"] == 0.2 and "saturation" not in thin.train_options(512)
    assert defaults(thickness=0.3, channels=1).jitter == 0
    assert defaults(608, thickness=0.3, val_share=0).epochs == 4


def test_few_images_are_passed_over_often_and_many_are_not():
    assert defaults(12).repeat == 16 and defaults(1000).repeat == 1


def test_loss_and_weights_follow_the_classes():
    assert defaults(shares=(0.99, 0.01)).loss == "CE_DiceLoss"
    assert defaults(shares=(0.99, 0.01)).class_weights is None  # the Dice term counts both alike
    assert defaults(shares=(0.6, 0.39, 0.01)).class_weights == "median"
    assert defaults(shares=(0.4, 0.3, 0.3)).class_weights is None


def test_images_of_one_size_are_scaled_little():
    assert defaults().scale == (0.8, 1.25)
    assert defaults(sizes=[(400, 500), (500, 400), (480, 640)]).scale == (0.5, 2.0)


def test_images_are_kept_in_memory_if_they_fit():
    assert defaults(100).cache == "ram" and defaults(5000, (1280, 1918)).cache is None


@pytest.mark.parametrize(("names", "grouped"), [
    ([f"car{c:02d}_{view:02d}" for c in range(8) for view in range(16)], True),
    ([f"img_{n:03d}" for n in range(50)], False),  # one name, numbered
    ([f"{n:03d}" for n in range(50)], False),
    ([f"{c}_1" for c in "abcdefgh"], False),  # as many groups as images
    ([f"{year}_{n:06d}" for year in range(2007, 2013) for n in range(30)], False),  # too large to be views
    ([f"car{c}_{view}" for c in range(8) for view in range(4)] + ["other"], False),
])  # fmt: skip
def test_views_of_one_object_are_kept_together(names, grouped):
    assert (find_group(names) is not None) is grouped
