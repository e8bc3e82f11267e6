"""Names that differ in the words for image and mask are paired only where no other pairing is possible."""

from __future__ import annotations

from pathlib import Path

import pytest

from utils.survey.words import pairs_by_words


def paired(*names):
    found = pairs_by_words(map(Path, names))
    if found is None:
        return None
    return {str(image): str(mask) for image, mask in found[0]}, [str(path) for path in found[1]]


@pytest.mark.parametrize(("image", "mask"), [
    ("images/img_{0:03d}.jpg", "masks/mask_{0:03d}.png"), ("images/{0}.jpg", "masks/{0:03d}.png"),
    ("case_{0}/image.png", "case_{0}/mask.png"), ("Images/IMG{0:04d}.JPG", "Labels/label{0:04d}.png"),
    ("{0}-rgb.png", "{0}-GT.png"), ("train/photos/scan {0}.png", "train/ground_truth/seg {0}.png"),
    ("image_{0}.png", "mask_{0}.png"), ("a_{0}_scan_1.png", "a_{0}_label_1.png"),
])  # fmt: skip
def test_words_for_image_and_mask_and_zeros_do_not_separate_names(image, mask):
    names = [text.format(number) for number in range(1, 13) for text in (image, mask)]
    expected = {image.format(number): mask.format(number) for number in range(1, 13)}
    assert paired(*reversed(names)) == (expected, [])


@pytest.mark.parametrize("names", [
    ["images/a_1.jpg", "masks/b_1.png"],  # a and b are no words for image and mask
    ["images/1.jpg", "images/01.jpg", "masks/001.png"],  # two images of one number
    ["images/img_1.jpg", "images/photo_1.jpg", "masks/mask_1.png"],
    ["images/0.jpg", "images/1.jpg", "masks/001.png", "masks/002.png"],  # counted from 0 and from 1
    ["images/1.jpg", "images/2.jpg", "masks/001.png"],  # zeros ignored and one without a mask
    ["images/img_1.jpg", "masks/mask_1.png", "masks/mask_2.png"],  # a mask without its image
    ["images/1.jpg", "1/mask.png"],  # words at other places of the path
    ["a/1.jpg", "b/001.png"], ["images/1.jpg"], ["masks/1.png", "labels/1.png"], [],
    ["images/left_1.jpg", "masks/right_1.png"],
])  # fmt: skip
def test_a_doubtful_pairing_is_none(names):
    assert paired(*names) is None


def test_images_without_a_mask_are_noted_where_names_agree_with_their_zeros():
    pairs, unpaired = paired("images/img_1.jpg", "images/img_2.jpg", "masks/mask_1.png")
    assert pairs == {"images/img_1.jpg": "masks/mask_1.png"} and unpaired == ["images/img_2.jpg"]


def test_files_without_such_words_are_passed_over():
    assert paired("images/1.jpg", "masks/01.png", "readme/logo.png")[0] == {"images/1.jpg": "masks/01.png"}
